#include <stdio.h>
int main(void) { puts("toolbelt works"); return 0; }
