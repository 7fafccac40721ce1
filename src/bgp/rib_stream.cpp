#include "bgp/rib_stream.h"

#include <algorithm>

#include "bgp/rib_table.h"

namespace knet::bgp {
namespace {

constexpr size_t kPiecePrefixes = 8192;  // a peer that falls behind has to finish the piece it is in
constexpr size_t kMaxSpans = 256;        // below IOV_MAX
constexpr size_t kSegmentCost = 200;     // of memory, beside its bytes

}  // namespace

size_t Batch::KeyHash::operator()(const Key& key) const {
  const auto mixed = (reinterpret_cast<uintptr_t>(key.attributes) >> 4) * 0x9e3779b97f4a7c15u;
  return mixed ^
         (uint64_t{key.peer} << 2 | uint64_t{key.only} << 1 | static_cast<uint64_t>(key.afi)) * 0xff51afd7ed558ccdu;
}

Batch::Bucket& Batch::bucket(const Key& key) {
  if (last_ < buckets_.size() && buckets_[last_].key == key) return buckets_[last_];
  const auto [it, made] = index_.try_emplace(key, buckets_.size());
  if (made) buckets_.push_back({key, nullptr, {}});
  return buckets_[last_ = it->second];
}

void Batch::announce(const Prefix& prefix, const AttrRef& attributes, PeerId peer, bool only) {
  Bucket& to = bucket({attributes.get(), peer, only, afi_of(prefix)});
  if (!to.attributes) to.attributes = attributes;
  to.prefixes.push_back(prefix);
}

void Batch::withdraw(const Prefix& prefix, PeerId peer, bool only) {
  bucket({nullptr, peer, only, afi_of(prefix)}).prefixes.push_back(prefix);
}

SegmentRef Batch::encode(const SessionTraits& traits) {
  auto segment = std::make_shared<Segment>();
  std::vector<uint8_t> bytes;
  for (const bool withdraws : {true, false}) {
    for (const Bucket& b : buckets_) {
      if ((b.attributes == nullptr) != withdraws) continue;
      for (size_t i = 0; i < b.prefixes.size(); i += kPiecePrefixes) {
        const std::span part(b.prefixes.data() + i, std::min(kPiecePrefixes, b.prefixes.size() - i));
        // What does not fit into a message with these attributes cannot be told; what was told before must not stay.
        const bool gone = withdraws || encode_reach(b.key.afi, part, *b.attributes, traits, bytes) == 0;
        if (gone) encode_withdraw(b.key.afi, part, bytes);
        const auto end = static_cast<uint32_t>(bytes.size());
        if (end > segment->begin_of(segment->pieces.size())) {
          segment->pieces.push_back({end, b.key.peer, b.key.only, gone});
        }
      }
    }
  }
  buckets_.clear();
  index_.clear();
  segment->bytes.assign(bytes.begin(), bytes.end());
  segment->pieces.shrink_to_fit();
  return segment;
}

SegmentRef marker(std::vector<uint8_t> bytes) {
  auto segment = std::make_shared<Segment>();
  segment->pieces.push_back({static_cast<uint32_t>(bytes.size()), kLocal, false, false});
  segment->bytes = std::move(bytes);
  return segment;
}

void SegmentLog::append(SegmentRef segment) {
  const uint64_t start = bytes_;
  bytes_ += segment->bytes.size();
  entries_.push_back({std::move(segment), start});
}

void SegmentLog::trim(uint64_t upto) {
  while (base_ < upto && !entries_.empty()) {
    entries_.pop_front();
    ++base_;
  }
}

void Stream::push(SegmentRef segment) {
  if (!segment->bytes.empty()) own_.push_back({std::move(segment), 0});
}

void Stream::join(const SegmentLog& log, uint64_t seq) {
  on_log_ = true;
  seq_ = seq;
  piece_ = 0;
  skip(log);
}

void Stream::leave(const SegmentLog& log) {
  if (!on_log_) return;
  for (uint64_t seq = seq_; seq < log.end(); ++seq) own_.push_back({log.at(seq), seq == seq_ ? piece_ : 0});
  on_log_ = false;
}

void Stream::fall_out(const SegmentLog& log) {
  if (own_.empty() && offset_ > 0) {
    const Segment& segment = *log.at(seq_);
    const auto bytes = segment.bytes.begin();
    own_.push_back({marker({bytes + segment.begin_of(piece_) + offset_, bytes + segment.pieces[piece_].end}), 0});
    offset_ = 0;
  }
  on_log_ = false;
}

std::vector<Prefix> Stream::unread_withdrawals(const SegmentLog& log, const SessionTraits& traits) const {
  std::vector<Prefix> out;
  for (uint64_t seq = seq_; on_log_ && seq < log.end(); ++seq) {
    const Segment& segment = *log.at(seq);
    for (size_t i = seq == seq_ ? piece_ : 0; i < segment.pieces.size(); ++i) {
      if (!segment.pieces[i].withdraws || !segment.visible(i, peer_)) continue;
      for (size_t at = segment.begin_of(i); at < segment.pieces[i].end;) {
        const size_t length = size_t{segment.bytes[at + 16]} << 8 | segment.bytes[at + 17];
        const Message message = decode(Bytes(segment.bytes).subspan(at, length), traits);
        if (const auto* update = std::get_if<Update>(&message))
          out.insert(out.end(), update->withdrawn.begin(), update->withdrawn.end());
        at += length;
      }
    }
  }
  return out;
}

const Segment* Stream::head(const SegmentLog& log) const {
  if (!own_.empty()) return own_.front().segment.get();
  return on_log_ && seq_ < log.end() ? log.at(seq_).get() : nullptr;
}

void Stream::pop_head() {
  if (!own_.empty()) {
    own_.pop_front();
  } else {
    ++seq_;
    piece_ = 0;
  }
}

void Stream::skip(const SegmentLog& log) {
  while (const Segment* segment = head(log)) {
    uint32_t& piece = head_piece();
    while (piece < segment->pieces.size() && !segment->visible(piece, peer_)) ++piece;
    if (piece < segment->pieces.size()) return;
    pop_head();
  }
}

void Stream::collect(const SegmentLog& log, size_t max_bytes, std::vector<Bytes>& out) const {
  size_t left = max_bytes, offset = offset_;
  const auto take = [&](const Segment& segment, size_t piece) {
    while (piece < segment.pieces.size() && left > 0 && out.size() < kMaxSpans) {
      if (!segment.visible(piece, peer_)) {
        ++piece;
        continue;
      }
      const size_t begin = segment.begin_of(piece) + offset;
      while (piece < segment.pieces.size() && segment.visible(piece, peer_)) ++piece;
      const size_t size = std::min<size_t>(left, segment.begin_of(piece) - begin);
      out.push_back(Bytes(segment.bytes).subspan(begin, size));
      left -= size;
      offset = 0;
    }
  };
  for (const Own& own : own_) {
    if (left == 0 || out.size() >= kMaxSpans) return;
    take(*own.segment, own.piece);
  }
  for (uint64_t seq = seq_; on_log_ && seq < log.end() && left > 0 && out.size() < kMaxSpans; ++seq) {
    take(*log.at(seq), seq == seq_ ? piece_ : 0);
  }
}

void Stream::consume(const SegmentLog& log, size_t bytes) {
  while (bytes > 0) {
    skip(log);
    const Segment* segment = head(log);
    if (!segment) return;
    uint32_t& piece = head_piece();
    const size_t rest = segment->pieces[piece].end - segment->begin_of(piece) - offset_;
    if (bytes < rest) {
      offset_ += static_cast<uint32_t>(bytes);
      return;
    }
    bytes -= rest;
    offset_ = 0;
    ++piece;
  }
  skip(log);
}

size_t Stream::behind(const SegmentLog& log) const {
  return on_log_ && seq_ < log.end() ? log.bytes_from(seq_) + (log.end() - seq_ - 1) * kSegmentCost : 0;
}

size_t Stream::waiting(const SegmentLog& log) const {
  size_t sum = 0;
  for (const Own& own : own_) sum += own.segment->bytes.size() - own.segment->begin_of(own.piece);
  if (on_log_ && seq_ < log.end()) sum += log.bytes_from(seq_) - log.at(seq_)->begin_of(piece_);
  return sum - offset_;
}

}  // namespace knet::bgp
