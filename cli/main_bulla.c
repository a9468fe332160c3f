/* The bulla command. */
#include "cli/command.h"

#include "runner/run.h"

#include <signal.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    /* A closed pipe is a write error like others, not a silent death with a half-done publication.
     */
    (void)signal(SIGPIPE, SIG_IGN);
    struct error err = ERROR_INIT;
    if (run_open_standard_files(&err)) {
        (void)fprintf(stderr, "bulla: %s\n", err.message);
        return EXIT_COULD_NOT;
    }
    return dispatch(argc, argv);
}
