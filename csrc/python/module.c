/* gracefulexit._core: the module object. */
#include "gepy.h"

static PyType_Spec *const specs[] = { &gepy_flag_spec, &gepy_section_spec,
                                      &gepy_ring_spec };

#define N_TYPES (sizeof specs / sizeof specs[0])

static int
add_constants(PyObject *module)
{
    static const struct {
        const char *name;
        long value;
    } constants[] = {
        { "RUNNING", GE_RUNNING },
        { "STOPPING", GE_STOPPING },
        { "HURRY", GE_HURRY },
        { "ROLE_COUNT", GE_ROLE_COUNT },
        { "ROLE_STOP", GE_ROLE_STOP },
        { "ROLE_HURRY", GE_ROLE_HURRY },
        { "ROLE_TRIP", GE_ROLE_TRIP },
        { "ROLE_HOLD", GE_ROLE_HOLD },
        { "ROLE_CHAIN", GE_ROLE_CHAIN },
        { "ROLE_GATE", GE_ROLE_GATE },
        { "OUTSIDE", GE_OUTSIDE },
        { "INSIDE", GE_INSIDE },
        { "LAST", GE_LAST },
        { "EXIT_SIGNAL", GE_EXIT_SIGNAL },
        { "EXIT_CODE", GE_EXIT_CODE },
        { "NSIG", GE_NSIG },
#if defined(SI_KERNEL)
        { "SI_KERNEL", SI_KERNEL },
#else
        { "SI_KERNEL", 0x80 },
#endif
    };

    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        if (PyModule_AddIntConstant(module, constants[i].name,
                                    constants[i].value) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
core_exec(PyObject *module)
{
    struct gepy_state *st = gepy_get_state(module);

    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError,
                        "gracefulexit works in the main interpreter only: a "
                        "process has one table of signals; import it there");
        return -1;
    }
    for (size_t i = 0; i < N_TYPES; i++) {
        st->types[i] =
            (PyTypeObject *)PyType_FromModuleAndSpec(module, specs[i], NULL);
        if (st->types[i] == NULL ||
            PyModule_AddType(module, st->types[i]) < 0) {
            return -1;
        }
    }
    if (PyModule_AddFunctions(module, gepy_signal_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_called_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_watch_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_fds_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_end_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_report_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_insist_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_opened_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_gate_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_solo_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_solo_take_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_mains_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_sigwait_methods) < 0 ||
        PyModule_AddFunctions(module, gepy_capi_methods) < 0 ||
        gepy_capi_init(module) < 0 || gepy_section_init() < 0 ||
        gepy_tasks_init(module) < 0 || gepy_table_init() < 0 ||
        add_constants(module) < 0) {
        return -1;
    }
    return gepy_end_init();
}

static int
core_traverse(PyObject *module, visitproc visit, void *arg)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        Py_VISIT(gepy_get_state(module)->types[i]);
    }
    return 0;
}

static int
core_clear(PyObject *module)
{
    for (size_t i = 0; i < N_TYPES; i++) {
        Py_CLEAR(gepy_get_state(module)->types[i]);
    }
    return 0;
}

static void
core_free(void *module)
{
    (void)core_clear((PyObject *)module);
}

static PyModuleDef_Slot core_slots[] = {
    { Py_mod_exec, (void *)core_exec },
#if PY_VERSION_HEX >= 0x030C0000
    { Py_mod_multiple_interpreters,
      Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED },
#endif
#if PY_VERSION_HEX >= 0x030D0000
    /* All shared state is in the core, which knows no GIL. */
    { Py_mod_gil, Py_MOD_GIL_NOT_USED },
#endif
    { 0, NULL },
};

PyDoc_STRVAR(core_doc, "The compiled part of gracefulexit. Not for users: see "
                       "gracefulexit.lowlevel.");

static PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT, .m_name = "gracefulexit._core",
    .m_doc = core_doc,     .m_size = sizeof(struct gepy_state),
    .m_slots = core_slots, .m_traverse = core_traverse,
    .m_clear = core_clear, .m_free = core_free,
};

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}
