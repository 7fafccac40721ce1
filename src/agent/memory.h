// Keeps the idle agent small. Any thread; costs a few page faults afterwards.
#pragma once

namespace knet {

/// Gives free heap pages back, and drops the pages of our own program that only the start needed: they are read again
/// from the page cache when something touches them.
void give_back_memory();

}  // namespace knet
