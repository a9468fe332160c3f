/*
 * libarchive, opened on first use; for tar_reader.c and tar_writer.c only.
 *
 * It brings an XML and a Unicode library along: a process linked to it starts 4 to 10 ms later, and
 * a container starts from layers that were unpacked long ago. Run-time dependency:
 * libarchive.so.13.
 */
#ifndef BULLA_OCI_TAR_LIBRARY_H
#define BULLA_OCI_TAR_LIBRARY_H

#include "base/error.h"

#include <archive.h>
#include <archive_entry.h>

#define TAR_LIBRARY_FUNCTIONS(USE)                                                                 \
    USE(archive_entry_clear)                                                                       \
    USE(archive_entry_copy_hardlink)                                                               \
    USE(archive_entry_copy_pathname)                                                               \
    USE(archive_entry_copy_symlink)                                                                \
    USE(archive_entry_filetype)                                                                    \
    USE(archive_entry_free)                                                                        \
    USE(archive_entry_gid)                                                                         \
    USE(archive_entry_hardlink)                                                                    \
    USE(archive_entry_mtime)                                                                       \
    USE(archive_entry_mtime_nsec)                                                                  \
    USE(archive_entry_new)                                                                         \
    USE(archive_entry_pathname)                                                                    \
    USE(archive_entry_perm)                                                                        \
    USE(archive_entry_set_filetype)                                                                \
    USE(archive_entry_set_gid)                                                                     \
    USE(archive_entry_set_mtime)                                                                   \
    USE(archive_entry_set_perm)                                                                    \
    USE(archive_entry_set_size)                                                                    \
    USE(archive_entry_set_uid)                                                                     \
    USE(archive_entry_size)                                                                        \
    USE(archive_entry_symlink)                                                                     \
    USE(archive_entry_uid)                                                                         \
    USE(archive_entry_xattr_add_entry)                                                             \
    USE(archive_entry_xattr_next)                                                                  \
    USE(archive_entry_xattr_reset)                                                                 \
    USE(archive_errno)                                                                             \
    USE(archive_error_string)                                                                      \
    USE(archive_filter_bytes)                                                                      \
    USE(archive_read_data_block)                                                                   \
    USE(archive_read_free)                                                                         \
    USE(archive_read_header_position)                                                              \
    USE(archive_read_new)                                                                          \
    USE(archive_read_next_header2)                                                                 \
    USE(archive_read_open)                                                                         \
    USE(archive_read_set_format_option)                                                            \
    USE(archive_read_support_format_tar)                                                           \
    USE(archive_set_error)                                                                         \
    USE(archive_write_close)                                                                       \
    USE(archive_write_data)                                                                        \
    USE(archive_write_free)                                                                        \
    USE(archive_write_header)                                                                      \
    USE(archive_write_new)                                                                         \
    USE(archive_write_open)                                                                        \
    USE(archive_write_set_bytes_in_last_block)                                                     \
    USE(archive_write_set_bytes_per_block)                                                         \
    USE(archive_write_set_format_pax_restricted)

/* The library's functions under their own names: lib->archive_read_new(). */
struct tar_library {
#define TAR_LIBRARY_FIELD(name) __typeof__(name) *name;
    TAR_LIBRARY_FUNCTIONS(TAR_LIBRARY_FIELD)
#undef TAR_LIBRARY_FIELD
};

/* E_UNSUPPORTED: it is not installed, or lacks a function. */
int tar_library_open(struct tar_library *out, struct error *err) MUST_CHECK;

#endif
