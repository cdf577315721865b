/* What extensions of others get: the capsule behind the installed header
 * gracefulexit.h, and the address of the flag for code without a compiler. */
#include "gepy.h"

#include "../core/ge_native.h"

#define GRACEFULEXIT_NO_IMPORT /* we are who is imported */
#include "../../gracefulexit/include/gracefulexit.h"

enum { OLDEST_ABI = 1 };

/* There for as long as the process: extension modules are never unloaded. */
static struct gracefulexit_api api = { .newest_abi = GRACEFULEXIT_ABI_VERSION,
                                       .oldest_abi = OLDEST_ABI,
                                       .wait_ns = ge_stop_sleep };

int
gepy_capi_init(PyObject *module)
{
    PyObject *capsule;
    int rc;

    api.stopping = ge_stop_flag();
    capsule = PyCapsule_New(&api, "gracefulexit._core._C_API", NULL);
    rc = capsule == NULL ? -1
                         : PyModule_AddObjectRef(module, "_C_API", capsule);
    Py_XDECREF(capsule);
    return rc;
}

PyDoc_STRVAR(address_doc, "flag_address()\n--\n\n"
                          "Of an int that is not 0 while stopping.");

static PyObject *
flag_address(PyObject *module, PyObject *unused)
{
    (void)module;
    (void)unused;
    return PyLong_FromVoidPtr((void *)(uintptr_t)ge_stop_flag());
}

PyMethodDef gepy_capi_methods[] = {
    { "flag_address", flag_address, METH_NOARGS, address_doc },
    { NULL, NULL, 0, NULL },
};
