/*
 * BULLA_SANITIZED is defined in builds with AddressSanitizer, whose leak checker needs a few rights
 * that shipped programs never get (it traces its own threads at the end).
 */
#ifndef BULLA_BASE_SANITIZED_H
#define BULLA_BASE_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__)
#define BULLA_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BULLA_SANITIZED 1
#endif
#endif

#endif
