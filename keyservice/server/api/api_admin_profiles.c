/* /v1/admin/profiles and what everyone sees of a profile: /v1/profiles/NAME/look. */
#include "keyservice/server/admin_call.h"
#include "keyservice/server/profile.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PROFILES_PREFIX "/v1/admin/profiles/"
#define LOOK_PREFIX     "/v1/profiles/"

static json_t *profile_json(const struct store_profile *profile, bool with_logo)
{
    json_t *row = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:I,s:I}", "name", profile->name, "title",
                            profile->title, "link", profile->link, "locale", profile->locale,
                            "text", profile->text, "contact", profile->contact, "retention_days",
                            (json_int_t)profile->retention_days, "changed",
                            (json_int_t)profile->changed_unix_ms);
    if (with_logo)
        (void)json_object_set_new(row, "logo", json_string(profile->logo));
    return row;
}

struct list {
    const struct admin_actor *actor;
    json_t *rows;
};

static void profile_add(void *context, const struct store_profile *profile)
{
    struct list *list = context;
    if (roles_allow(&list->actor->roles, RIGHT_PROFILES, profile->name))
        (void)json_array_append_new(list->rows, profile_json(profile, false));
}

void api_admin_profiles(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    if (!admin_enter(service, request, RIGHT_PROFILES, ADMIN_LOOK, &actor))
        return;
    struct list list = {.actor = &actor, .rows = json_array()};
    if (store_profile_list(service->store, profile_add, &list) != 0) {
        json_decref(list.rows);
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    api_answer(request, 200, json_pack("{s:o}", "profiles", list.rows));
}

/* The name in the path, and whether the actor may touch that profile. */
static bool profile_named(const struct service *service, struct http_request *request,
                          const struct admin_actor *actor, char name[ROLES_PROFILE_BYTES])
{
    if (!admin_path(request, PROFILES_PREFIX, name, ROLES_PROFILE_BYTES, NULL) ||
        !roles_profile_valid(name)) {
        api_refuse(request, API_UNKNOWN, NULL);
        return false;
    }
    return admin_profile(service, request, actor, RIGHT_PROFILES, name);
}

void api_admin_profile(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    struct store_profile profile;
    char name[ROLES_PROFILE_BYTES];
    if (!admin_enter(service, request, RIGHT_PROFILES, ADMIN_LOOK, &actor) ||
        !profile_named(service, request, &actor, name))
        return;
    const int rc = store_profile_get(service->store, name, &profile);
    if (rc == 0)
        api_answer(request, 200, profile_json(&profile, true));
    else
        api_refuse(request, rc == -ENOENT ? API_UNKNOWN : API_AWAY, NULL);
}

/* Members that are left out stay as they are. */
static bool profile_change(const struct http_request *request, struct store_profile *profile)
{
    static const char *const names[] = {"title",   "link",           "locale", "text",
                                        "contact", "retention_days", "logo"};
    json_t *root = NULL;
    if (api_json_body(request, &root) != 0)
        return false;
    const struct {
        const char *name;
        char *text;
        size_t room;
    } texts[] = {
        {"title", profile->title, sizeof(profile->title)},
        {"link", profile->link, sizeof(profile->link)},
        {"locale", profile->locale, sizeof(profile->locale)},
        {"text", profile->text, sizeof(profile->text)},
        {"contact", profile->contact, sizeof(profile->contact)},
        {"logo", profile->logo, sizeof(profile->logo)},
    };
    bool fine = api_json_known(root, names, ARRAY_COUNT(names));
    for (size_t i = 0; i < ARRAY_COUNT(texts) && fine; i++)
        if (json_object_get(root, texts[i].name) != NULL)
            fine = api_json_string(root, texts[i].name, false, texts[i].text, texts[i].room);
    if (fine && json_object_get(root, "retention_days") != NULL)
        fine = api_json_u64(root, "retention_days", false, STORE_PROFILE_DAYS_MAX,
                            &profile->retention_days);
    json_decref(root);
    return fine;
}

void api_admin_profile_put(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    struct store_profile profile;
    char name[ROLES_PROFILE_BYTES];
    if (!admin_enter(service, request, RIGHT_PROFILES, ADMIN_DANGER, &actor) ||
        !profile_named(service, request, &actor, name))
        return;
    int rc = store_profile_get(service->store, name, &profile);
    if (rc == -ENOENT) {
        profile = (struct store_profile){.retention_days = 0};
        (void)snprintf(profile.name, sizeof(profile.name), "%s", name);
    } else if (rc != 0) {
        api_refuse(request, API_AWAY, NULL);
        return;
    }
    const uint64_t days = profile.retention_days;
    const bool fine = profile_change(request, &profile);
    const char *fault = fine ? profile_fault(&profile) : NULL;
    if (!fine || fault != NULL) {
        api_refuse(request, API_BAD_REQUEST, fault);
        return;
    }
    /* How long keys live is not a profile's own to say. */
    if (profile.retention_days != days &&
        !admin_profile(service, request, &actor, RIGHT_RETENTION, NULL))
        return;
    const struct audit_event event = {.event = "profile_put", .detail = name};
    profile.changed_unix_ms = api_now_ms();
    if (!admin_note(service, request, &actor, &event))
        return;
    rc = store_profile_put(service->store, &profile, profile.retention_days != days);
    if (rc == 0) /* as it is now: whoever may has perhaps changed its retention meanwhile */
        rc = store_profile_get(service->store, name, &profile);
    if (admin_done(service, request, &actor, &event, rc))
        api_answer(request, 200, profile_json(&profile, true));
}

void api_admin_profile_remove(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct admin_actor actor;
    char name[ROLES_PROFILE_BYTES];
    /* Its retention goes with it: for those alone who may say how long keys live. */
    if (!admin_enter(service, request, RIGHT_RETENTION, ADMIN_DANGER, &actor) ||
        !profile_named(service, request, &actor, name))
        return;
    if (api_fields(request->body, request->body_bytes, NULL, 0) != 0) {
        api_refuse(request, API_BAD_REQUEST, NULL);
        return;
    }
    const struct audit_event event = {.event = "profile_remove", .detail = name};
    if (!admin_note(service, request, &actor, &event))
        return;
    admin_finish(service, request, &actor, &event, store_profile_remove(service->store, name));
}

/* For the pages that are about its envelopes: who made them, as text and a picture. */
void api_profile_look(void *context, struct http_request *request)
{
    const struct service *service = context;
    struct store_profile profile;
    char name[ROLES_PROFILE_BYTES];
    const char *rest = "";
    if (!admin_path(request, LOOK_PREFIX, name, sizeof(name), &rest) || strcmp(rest, "look") != 0 ||
        !roles_profile_valid(name)) {
        api_refuse(request, API_UNKNOWN, NULL);
        return;
    }
    const int rc = store_profile_get(service->store, name, &profile);
    if (rc != 0) {
        api_refuse(request, rc == -ENOENT ? API_UNKNOWN : API_AWAY, NULL);
        return;
    }
    api_answer(request, 200,
               json_pack("{s:s,s:s,s:s,s:s,s:s,s:b}", "title", profile.title, "link", profile.link,
                         "locale", profile.locale, "text", profile.text, "logo", profile.logo,
                         "contact", profile.contact[0] != '\0'));
}
