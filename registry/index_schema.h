/*
 * Steps of the index's schema that clean-up and quotas need: index_gc.h, index_retention.h,
 * index_usage.h. Kept by triggers, so that no way of changing content can forget them.
 */
#ifndef BULLA_REGISTRY_INDEX_SCHEMA_H
#define BULLA_REGISTRY_INDEX_SCHEMA_H

/* The name and every folder above it, "" last. */
#define INDEX_PREFIXES(name)                                                                       \
    "WITH RECURSIVE up(p) AS (SELECT " name " UNION ALL"                                           \
    " SELECT rtrim(rtrim(p, replace(p, '/', '')), '/') FROM up WHERE p <> '')"

/* What may be garbage, and when to look. */
#define INDEX_SCHEMA_GC                                                                            \
    "CREATE TABLE gc_candidate(repository INTEGER NOT NULL, digest TEXT NOT NULL,"                 \
    "  touched_s INTEGER NOT NULL, PRIMARY KEY(repository, digest)) STRICT, WITHOUT ROWID;"        \
    "CREATE INDEX gc_due ON gc_candidate(touched_s);"                                              \
    "CREATE TRIGGER gc_link_made AFTER INSERT ON link BEGIN"                                       \
    "  INSERT INTO gc_candidate VALUES(NEW.repository, NEW.digest, unixepoch())"                   \
    "  ON CONFLICT DO UPDATE SET touched_s = excluded.touched_s; END;"                             \
    "CREATE TRIGGER gc_link_gone AFTER DELETE ON link BEGIN"                                       \
    "  INSERT INTO gc_candidate VALUES(0, OLD.digest, 0) ON CONFLICT DO NOTHING; END;"             \
    "CREATE TRIGGER gc_reference_gone AFTER DELETE ON reference BEGIN"                             \
    "  INSERT INTO gc_candidate SELECT repository, digest, 0 FROM link"                            \
    "  WHERE repository = OLD.repository AND digest = OLD.child ON CONFLICT DO NOTHING;"           \
    "  INSERT INTO untagged SELECT repository, digest, unixepoch() FROM manifest"                  \
    "  WHERE repository = OLD.repository AND digest = OLD.child ON CONFLICT DO NOTHING; END;"      \
    "CREATE TABLE untagged(repository INTEGER NOT NULL, digest TEXT NOT NULL,"                     \
    "  since_s INTEGER NOT NULL, PRIMARY KEY(repository, digest)) STRICT, WITHOUT ROWID;"          \
    "CREATE INDEX untagged_since ON untagged(repository, since_s);"                                \
    "CREATE TRIGGER untagged_manifest AFTER INSERT ON manifest BEGIN"                              \
    "  INSERT INTO untagged VALUES(NEW.repository, NEW.digest, unixepoch())"                       \
    "  ON CONFLICT DO NOTHING; END;"                                                               \
    "CREATE TRIGGER gc_manifest_gone AFTER DELETE ON manifest BEGIN"                               \
    "  INSERT INTO gc_candidate VALUES(0, OLD.digest, 0) ON CONFLICT DO NOTHING;"                  \
    "  DELETE FROM untagged WHERE repository = OLD.repository AND digest = OLD.digest;"            \
    "  INSERT INTO untagged SELECT repository, digest, unixepoch() FROM manifest"                  \
    "  WHERE repository = OLD.repository AND subject = OLD.digest ON CONFLICT DO NOTHING; END;"    \
    "CREATE TRIGGER untagged_tag_made AFTER INSERT ON tag BEGIN"                                   \
    "  DELETE FROM untagged WHERE repository = NEW.repository AND digest = NEW.digest; END;"       \
    "CREATE TRIGGER untagged_tag_moved AFTER UPDATE OF digest ON tag"                              \
    "  WHEN OLD.digest <> NEW.digest BEGIN"                                                        \
    "  DELETE FROM untagged WHERE repository = NEW.repository AND digest = NEW.digest;"            \
    "  INSERT INTO untagged SELECT repository, digest, unixepoch() FROM manifest"                  \
    "  WHERE repository = OLD.repository AND digest = OLD.digest ON CONFLICT DO NOTHING; END;"     \
    "CREATE TRIGGER untagged_tag_gone AFTER DELETE ON tag BEGIN"                                   \
    "  INSERT INTO untagged SELECT repository, digest, unixepoch() FROM manifest"                  \
    "  WHERE repository = OLD.repository AND digest = OLD.digest ON CONFLICT DO NOTHING; END;"     \
    "CREATE TRIGGER untagged_target_gone AFTER DELETE ON trust_target BEGIN"                       \
    "  INSERT INTO untagged SELECT repository, digest, unixepoch() FROM manifest"                  \
    "  WHERE repository = OLD.repository AND digest = OLD.digest ON CONFLICT DO NOTHING; END;"     \
    "CREATE INDEX tag_updated ON tag(repository, updated_s);"

/* Publications and timestamps under way; what a registry from before may hold. */
#define INDEX_SCHEMA_WAITING                                                                       \
    "CREATE TABLE trust_hold(repository INTEGER NOT NULL, digest TEXT NOT NULL,"                   \
    "  publication INTEGER NOT NULL, until_s INTEGER NOT NULL,"                                    \
    "  PRIMARY KEY(repository, digest, publication)) STRICT, WITHOUT ROWID;"                       \
    "CREATE INDEX trust_hold_publication ON trust_hold(publication);"                              \
    "CREATE INDEX trust_hold_until ON trust_hold(until_s);"                                        \
    "ALTER TABLE trust_timestamp ADD COLUMN retry_s INTEGER NOT NULL DEFAULT 0;"                   \
    "ALTER TABLE trust_timestamp ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;"                  \
    "ALTER TABLE trust_timestamp ADD COLUMN next_s INTEGER NOT NULL GENERATED ALWAYS AS"           \
    "  (max(retry_s, expires_s - (expires_s - issued_s) / 2)) VIRTUAL;"                            \
    "DROP INDEX trust_expiry;"                                                                     \
    "CREATE INDEX trust_next ON trust_timestamp(next_s);"                                          \
    "INSERT INTO gc_candidate SELECT repository, digest, unixepoch() FROM link l WHERE NOT EXISTS" \
    "  (SELECT 1 FROM reference f WHERE f.repository = l.repository AND f.child = l.digest);"      \
    "INSERT INTO gc_candidate SELECT 0, digest, 0 FROM blob b WHERE"                               \
    "  NOT EXISTS (SELECT 1 FROM link l WHERE l.digest = b.digest) AND"                            \
    "  NOT EXISTS (SELECT 1 FROM manifest m WHERE m.digest = b.digest);"                           \
    "INSERT INTO untagged SELECT repository, digest, unixepoch() FROM manifest m WHERE NOT EXISTS" \
    "  (SELECT 1 FROM tag t WHERE t.repository = m.repository AND t.digest = m.digest);"

/* Bytes and repositories below every prefix of a name, "" being all. */
#define INDEX_SCHEMA_USAGE                                                                         \
    "CREATE TABLE usage(id INTEGER PRIMARY KEY, prefix TEXT NOT NULL UNIQUE,"                      \
    "  bytes INTEGER NOT NULL, repositories INTEGER NOT NULL) STRICT;"                             \
    "CREATE TABLE usage_of(repository INTEGER NOT NULL, usage INTEGER NOT NULL,"                   \
    "  PRIMARY KEY(repository, usage)) STRICT, WITHOUT ROWID;"                                     \
    "CREATE TRIGGER usage_repository AFTER INSERT ON repository BEGIN"                             \
    "  INSERT INTO usage(prefix, bytes, repositories) SELECT p, 0, 0 FROM (" INDEX_PREFIXES(       \
        "NEW.name") "  SELECT p FROM up) WHERE true ON CONFLICT DO NOTHING;"                       \
                    "  INSERT INTO usage_of(repository, usage) SELECT NEW.id, u.id FROM "          \
                    "(" INDEX_PREFIXES(                                                            \
                        "NEW.name") "  SELECT p FROM up) JOIN usage u ON u.prefix = p;"            \
                                    "  UPDATE usage SET repositories = repositories + 1 WHERE id " \
                                    "IN"                                                           \
                                    "  (SELECT usage FROM usage_of WHERE repository = NEW.id); "   \
                                    "END;"                                                         \
                                    "CREATE TRIGGER usage_link_made AFTER INSERT ON link BEGIN"    \
                                    "  UPDATE usage SET bytes = bytes + (SELECT size FROM blob "   \
                                    "WHERE digest = NEW.digest)"                                   \
                                    "  WHERE id IN (SELECT usage FROM usage_of WHERE repository "  \
                                    "= NEW.repository); END;"                                      \
                                    "CREATE TRIGGER usage_link_gone AFTER DELETE ON link BEGIN"    \
                                    "  UPDATE usage SET bytes = bytes - (SELECT size FROM blob "   \
                                    "WHERE digest = OLD.digest)"                                   \
                                    "  WHERE id IN (SELECT usage FROM usage_of WHERE repository "  \
                                    "= OLD.repository); END;"                                      \
                                    "CREATE TRIGGER usage_manifest_made AFTER INSERT ON manifest " \
                                    "BEGIN"                                                        \
                                    "  UPDATE usage SET bytes = bytes + NEW.size"                  \
                                    "  WHERE id IN (SELECT usage FROM usage_of WHERE repository "  \
                                    "= NEW.repository); END;"                                      \
                                    "CREATE TRIGGER usage_manifest_gone AFTER DELETE ON manifest " \
                                    "BEGIN"                                                        \
                                    "  UPDATE usage SET bytes = bytes - OLD.size"                  \
                                    "  WHERE id IN (SELECT usage FROM usage_of WHERE repository "  \
                                    "= OLD.repository); END;"                                      \
                                    "CREATE TEMP TABLE part AS WITH RECURSIVE up(id, p) AS "       \
                                    "(SELECT id, name FROM repository"                             \
                                    "  UNION ALL SELECT id, rtrim(rtrim(p, replace(p, '/', '')), " \
                                    "'/') FROM up WHERE p <> '')"                                  \
                                    "  SELECT id, p FROM up;"                                      \
                                    "INSERT INTO usage(prefix, bytes, repositories) SELECT p, 0, " \
                                    "count(*) FROM temp.part GROUP BY p;"                          \
                                    "INSERT INTO usage_of SELECT part.id, u.id FROM temp.part "    \
                                    "JOIN usage u ON u.prefix = part.p;"                           \
                                    "DROP TABLE temp.part;"                                        \
                                    "UPDATE usage SET bytes = sums.bytes FROM (SELECT o.usage, "   \
                                    "sum(h.size) AS bytes FROM ("                                  \
                                    "  SELECT l.repository, b.size FROM link l JOIN blob b ON "    \
                                    "b.digest = l.digest"                                          \
                                    "  UNION ALL SELECT repository, size FROM manifest) h"         \
                                    "  JOIN usage_of o ON o.repository = h.repository GROUP BY "   \
                                    "o.usage) sums"                                                \
                                    "  WHERE sums.usage = usage.id;"

/* Up to where the signing service's log has been followed. */
#define INDEX_SCHEMA_PLACE                                                                         \
    "CREATE TABLE trust_place(id INTEGER PRIMARY KEY CHECK(id = 1), identity TEXT NOT NULL,"       \
    "  number INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;"

#endif
