// Turns a regular expression into a grammar and prints it: the library was compiled, linked, and runs.
#include <xgrammar/xgrammar.h>

#include <iostream>

int main(int count, char** words) {
  if (count != 2) return 2;
  std::cout << xgrammar::Grammar::FromRegex(words[1]).ToString();
}
