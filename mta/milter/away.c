#include "mta/milter/away.h"

#include <errno.h>
#include <string.h>

const char *away_words(int rc)
{
    switch (-rc) {
    case EPROTO:
        return "it speaks another version: install bullad and bulla-milter of the same one, and "
               "restart both";
    case EACCES:
        return "it does not take this user: name bulla-milter in allow_users, put it into the "
               "socket's group, and reload bullad";
    case ENOENT:
    case ECONNREFUSED:
    case ENOTDIR:
        return "nothing answers there: start bullad, or name its socket in the section engine";
    case ETIMEDOUT: return "it does not answer in time: if that stays so, restart bullad";
    case EUSERS:
        return "this user has all the attachments that it may have: raise sessions_per_user";
    case ENOMEM:
    case EAGAIN: return "it has no room for one more: raise session_memory, or end other clients";
    default: return strerror(-rc);
    }
}
