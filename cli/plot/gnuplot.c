#include "cli/plot/gnuplot.h"

#include "base/file.h"
#include "cli/subprocess.h"

#include <ctype.h>

void gnuplot_put_quoted(FILE *to, const char *text) {
    fputc('\'', to);
    for (; *text; text++) {
        if (*text == '\'') {
            fputs("'.\"'\".'", to); /* doubled it would not be one at the beginning */
        } else {
            fputc(iscntrl((unsigned char)*text) ? ' ' : *text, to);
        }
    }
    fputc('\'', to);
}

static err write_script(const char *path, const gnuplot_job *job, const char *folder) {
    FILE *file = fopen(path, "we");
    if (!file) {
        return err_system(ERR_IO, "%s: cannot write", path);
    }
    job->write(file, job->context, folder);
    return fclose(file) == 0 ? ERR_OK : err_system(ERR_IO, "%s: cannot write", path);
}

static err run_gnuplot(const char *script, const char *folder) {
    char log[FILE_PATH_MAX];
    err e = file_path(log, sizeof log, "%s/log", folder);
    const char *const argv[] = {"gnuplot", "-d", script, NULL};
    e = e ? e : subprocess_run(argv, log);
    return e == ERR_NOT_FOUND
               ? err_fail(ERR_NOT_FOUND, "there is no gnuplot here, which draws the plots: install gnuplot-nox")
               : e;
}

/* Gives the files their final place once all are drawn. */
static err install(const gnuplot_job *job, const char *folder, const char *to) {
    for (size_t i = 0; i < job->files; i++) {
        char name[GNUPLOT_NAME_MAX], drawn[FILE_PATH_MAX], final[FILE_PATH_MAX];
        job->name(job->context, i, name);
        err e = file_path(drawn, sizeof drawn, "%s/%s", folder, name);
        e = e ? e : file_path(final, sizeof final, "%s/%s", to, name);
        if (e) {
            return e;
        }
        if (rename(drawn, final) != 0) {
            return err_system(ERR_IO, "%s: cannot rename into place", final);
        }
        printf("%s\n", final);
    }
    return ERR_OK;
}

err gnuplot_draw(const gnuplot_job *job, const char *to) {
    char folder[FILE_PATH_MAX], script[FILE_PATH_MAX];
    err e = file_make_folders(to);
    e = e ? e : subprocess_folder_make(to, folder, sizeof folder);
    if (e) {
        return e;
    }
    e = file_path(script, sizeof script, "%s/script", folder);
    e = e ? e : write_script(script, job, folder);
    e = e ? e : run_gnuplot(script, folder);
    e = e ? e : install(job, folder, to);
    subprocess_folder_remove(folder);
    return e;
}
