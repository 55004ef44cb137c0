#pragma once
#include <stddef.h>

/// One file of migrations/, as it was when this program was built.
typedef struct {
    const char *name;
    const unsigned char *text;
    size_t length;
} healthd_migration;

/// How many there are, in the order in which they are applied.
size_t healthd_migrations_count(void);
healthd_migration healthd_migration_at(size_t index);
