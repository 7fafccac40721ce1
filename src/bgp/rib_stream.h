// What is sent, as bytes: segments of encoded messages that many peers share, the log of a group's segments, and each
// peer's place in it. A piece of a segment is for all but the peer that its routes came from, or for that peer only. No
// I/O.
#pragma once

#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "bgp/rib.h"

namespace knet::bgp {

struct Segment {
  struct Piece {
    uint32_t end;  // in bytes
    PeerId peer;
    bool only;  // for this peer only; else for all but it
    bool withdraws;
  };
  std::vector<uint8_t> bytes;
  std::vector<Piece> pieces;

  uint32_t begin_of(size_t piece) const { return piece == 0 ? 0 : pieces[piece - 1].end; }
  bool visible(size_t piece, PeerId to) const { return pieces[piece].only == (pieces[piece].peer == to); }
};
using SegmentRef = std::shared_ptr<const Segment>;

/// Gathers changes of one moment and packs them: routes with the same attributes into the same messages.
class Batch {
 public:
  /// For all but `peer`, or for it only.
  void announce(const Prefix& prefix, const AttrRef& attributes, PeerId peer, bool only = false);
  void withdraw(const Prefix& prefix, PeerId peer, bool only);
  bool empty() const { return buckets_.empty(); }
  /// Withdrawals first. Empties the batch.
  SegmentRef encode(const SessionTraits& traits);

 private:
  struct Key {
    const Attributes* attributes;  // null: withdrawal
    PeerId peer;
    bool only;
    Afi afi;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  struct Bucket {
    Key key;
    AttrRef attributes;
    std::vector<Prefix> prefixes;
  };
  Bucket& bucket(const Key& key);

  std::vector<Bucket> buckets_;
  std::unordered_map<Key, size_t, KeyHash> index_;
  size_t last_ = 0;
};

/// Messages without routes (end-of-RIB, begin and end of a refresh) as a segment for whoever reads it.
SegmentRef marker(std::vector<uint8_t> bytes);

/// The segments of a group that not all of its peers have read; numbered for ever.
class SegmentLog {
 public:
  void append(SegmentRef segment);
  uint64_t begin() const { return base_; }
  uint64_t end() const { return base_ + entries_.size(); }
  const SegmentRef& at(uint64_t seq) const { return entries_[seq - base_].segment; }
  /// Bytes from this segment's beginning to the log's end.
  size_t bytes_from(uint64_t seq) const { return seq < end() ? bytes_ - entries_[seq - base_].start : 0; }
  void trim(uint64_t upto);

 private:
  struct Entry {
    SegmentRef segment;
    uint64_t start;
  };
  std::deque<Entry> entries_;
  uint64_t base_ = 0, bytes_ = 0;
};

/// One peer's way through segments of its own (a dump of the table, say) and then through the log.
class Stream {
 public:
  explicit Stream(PeerId peer) : peer_(peer) {}

  bool on_log() const { return on_log_; }
  uint64_t seq() const { return seq_; }
  bool own_empty() const { return own_.empty(); }
  void push(SegmentRef segment);
  void join(const SegmentLog& log, uint64_t seq);
  /// Leaves the log; what it has not read of it becomes its own.
  void leave(const SegmentLog& log);
  /// Leaves the log without what it has not read, but for the rest of a piece that was begun.
  void fall_out(const SegmentLog& log);
  /// Prefixes that the unread part of the log withdraws from it.
  std::vector<Prefix> unread_withdrawals(const SegmentLog& log, const SessionTraits& traits) const;
  /// Passes over what is not for the peer. To be called after the log has grown.
  void skip(const SegmentLog& log);
  void collect(const SegmentLog& log, size_t max_bytes, std::vector<Bytes>& out) const;
  void consume(const SegmentLog& log, size_t bytes);
  size_t waiting(const SegmentLog& log) const;
  /// Memory of the log that is kept for this peer and all that are further.
  size_t behind(const SegmentLog& log) const;

 private:
  struct Own {
    SegmentRef segment;
    uint32_t piece;
  };
  const Segment* head(const SegmentLog& log) const;
  uint32_t& head_piece() { return own_.empty() ? piece_ : own_.front().piece; }
  void pop_head();

  PeerId peer_;
  std::deque<Own> own_;
  bool on_log_ = false;
  uint64_t seq_ = 0;
  uint32_t piece_ = 0;   // in the log's segment
  uint32_t offset_ = 0;  // in the head's piece; not 0 only in one that is visible
};

}  // namespace knet::bgp
