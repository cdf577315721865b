/* Runs the fuzz target with inputs from files, without libFuzzer; under every
 * signal that may be taken there is a handler to which it is passed on. */
#include "ge_platform.h"

#include "ge.h"

#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
owner(int signum)
{
    (void)signum;
}

int
main(int argc, char **argv)
{
    struct sigaction sa = { .sa_handler = owner };
    uint8_t data[512];

    for (int n = 1; n < GE_NSIG; n++) {
        if (ge_sig_check(n) == 0 && sigaction(n, &sa, NULL) < 0) {
            perror("sigaction");
            return 1;
        }
    }
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");

        if (file == NULL) {
            perror(argv[i]);
            return 1;
        }
        (void)LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, file));
        (void)fclose(file);
    }
    (void)printf("%d passed\n", argc - 1);
    return 0;
}
