#include "CWeb.h"

// The language is C23 by this alone.
#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char css[] = {
#embed "../../web/healthd.css"
};

const size_t healthd_web_css_size = sizeof css;

// A function, because Swift imports an array of unknown length as nothing at all.
const unsigned char *healthd_web_css_start(void) { return css; }
