/* A C handler that counts its calls, wherever a thread is when it comes. One made by
 * ctypes takes the interpreter lock, in the middle of whatever it interrupts. */
#include <signal.h>

void count_handler(int signum);

volatile sig_atomic_t calls;

void
count_handler(int signum)
{
    (void)signum;
    calls++;
}
