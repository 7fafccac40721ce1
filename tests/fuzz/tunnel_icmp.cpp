// The packet that an ICMP error is about: whatever it is, the answer is a packet with right lengths, or none.
#include <cstdint>
#include <vector>

#include "tests/fuzz/fuzz_target.h"
#include "tunnel/icmp.h"

using namespace knet;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> packet(data, data + size);
  for (const char* source : {"10.1.0.1", "fd01::1"})
    for (const IcmpError error : {IcmpError::no_route, IcmpError::too_big}) {
      std::vector<uint8_t> out(kMostIcmp6);
      const size_t made = make_icmp_error(error, packet, *IpAddr::parse(source), 1400, out);
      if (made == 0) continue;
      fuzz::hold(made <= (out[0] >> 4 == 4 ? kMostIcmp4 : kMostIcmp6));
      out.resize(made);
      const std::optional<IpHeader> ip = read_ip_header(out);
      fuzz::hold(ip && ip->length == made && header_checksum_holds(*ip, out.data()));
      fuzz::hold(ip->source(out.data()).str() == source);
      // An error is never about an error: it is not answered itself.
      std::vector<uint8_t> again(kMostIcmp6);
      fuzz::hold(make_icmp_error(error, out, *IpAddr::parse(source), 1400, again) == 0);
    }
  return 0;
}
