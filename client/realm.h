/*
 * Which token services may have a registry's password besides the registry itself.
 *
 * Whoever can answer for a registry names a token service in the challenge, and could so have the
 * password sent anywhere (CVE-2026-48978, CVE-2026-33540). So: the registry's own origin; a few
 * well-known pairs; and what the user allowed at login, kept in token-services.json of
 * /etc/bulla and of the user's configuration folder: {"HOST[:PORT]": ["https://OTHER"]}.
 * No guessing by domain names: who shares a domain need not share a password.
 */
#ifndef BULLA_CLIENT_REALM_H
#define BULLA_CLIENT_REALM_H

#include "client/url.h"

#define REALM_FILE_MAX (1u << 20)

/* True where `realm` is a well-known or recorded token service of base. E_INVALID, E_SYS: a file
 * cannot be used. */
int realm_known(const struct url *base, const struct url *realm, bool *known,
                struct error *err) MUST_CHECK;
/* Records it for this user; atomic, keeps other entries, writers take turns. service: "https://…".
 */
int realm_allow(const char *host, const char *service, struct error *err) MUST_CHECK;
/* E_USAGE where text is no "https://HOST[:PORT]" (http too if plain_http). */
int realm_parse(const char *text, bool plain_http, struct url *out, struct error *err) MUST_CHECK;

#endif
