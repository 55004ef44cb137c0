#pragma once
#include <stddef.h>

// The files of web/, inside the program: nothing to lose at installation, no file opened for a request.
extern const size_t healthd_web_css_size;
const unsigned char *healthd_web_css_start(void);
