// RFC 4648 base64, standard alphabet, padded.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace knet {

std::string base64_encode(std::string_view bytes);
/// Nothing if the text is not canonical padded base64.
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace knet
