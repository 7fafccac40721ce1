// Reads tests/data/tunnel/vectors.txt: what the kernel made of packets (see make-vectors there).
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tunnel/vnet.h"

namespace knet {

using Bytes = std::vector<uint8_t>;

inline Bytes from_hex(const std::string& hex) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

struct Vector {
  std::string kind;  // "case", "icmp"
  std::string name;
  std::string error;  // of icmp: "no_route", "too_big"
  uint32_t mtu = 0;
  VnetHeader vnet{};
  Bytes packet;
  std::vector<Bytes> out;
};

inline std::vector<Vector> read_vectors(const std::string& kind) {
  std::ifstream file(KNET_TEST_DATA "/tunnel/vectors.txt");
  REQUIRE(file);
  std::vector<Vector> all;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string first, rest;
    words >> first;
    if (first == "case" || first == "icmp") {
      all.emplace_back();
      all.back().kind = first;
      if (first == "icmp") words >> all.back().error >> all.back().mtu;
      words >> all.back().name;
      continue;
    }
    if (first == "#") continue;
    words >> rest;
    const Bytes bytes = from_hex(rest);
    if (first == "vnet") {
      REQUIRE(bytes.size() == sizeof(VnetHeader));
      std::memcpy(&all.back().vnet, bytes.data(), bytes.size());
    }
    if (first == "packet") all.back().packet = bytes;
    if (first == "out") all.back().out.push_back(bytes);
  }
  std::erase_if(all, [&](const Vector& vector) { return vector.kind != kind; });
  REQUIRE(all.size() > 10);
  return all;
}

}  // namespace knet
