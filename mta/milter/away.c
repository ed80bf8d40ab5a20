#include "mta/milter/away.h"

#include <errno.h>
#include <string.h>

const char *away_words(int rc)
{
    if (rc == -EPROTO)
        return "it speaks another version: install bullad and bulla-milter of the same one, and "
               "restart both";
    return strerror(-rc);
}
