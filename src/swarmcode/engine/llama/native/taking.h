// What the plugin computes of what it could, for what this thread builds and computes.

#pragma once

struct Taking {
    bool products = true;  // and what lies between them
    bool rounds = true;    // whether attention may round its numbers
};

extern thread_local Taking taking;
