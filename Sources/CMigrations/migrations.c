#include "CMigrations.h"

// The language is C23 by this alone.
#pragma clang diagnostic ignored "-Wc23-extensions"

// A new file of migrations/ gets its two lines here; a test compares this list with the folder.
static const unsigned char m0001[] = {
#embed "../../migrations/0001_core.sql"
};
static const unsigned char m0002[] = {
#embed "../../migrations/0002_performance_indexes.sql"
};

static const healthd_migration all[] = {
    {"0001_core.sql", m0001, sizeof m0001},
    {"0002_performance_indexes.sql", m0002, sizeof m0002},
};

size_t healthd_migrations_count(void) { return sizeof all / sizeof all[0]; }
healthd_migration healthd_migration_at(size_t index) { return all[index]; }
