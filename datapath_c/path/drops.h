#ifndef VSWITCH_DROPS_H
#define VSWITCH_DROPS_H

enum drop {
#define DROP(id, name, text) DROP_##id,
#include "path/drops.def"
#undef DROP
    N_DROPS
};

#endif
