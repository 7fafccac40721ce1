// The gateway's bodies, byte for byte where we send them and as a real etcd 3.4 sends them.
#include "store/etcd_wire.h"

#include <catch2/catch.hpp>

#include "base/error.h"

using namespace knet;
using namespace knet::etcd;
using What = Store::Change::What;

TEST_CASE("requests") {
  CHECK(get_request("/k/a") == R"({"key":"L2svYQ=="})");
  CHECK(range_request("/k", "/l", 500, 0) == R"({"key":"L2s=","limit":"500","range_end":"L2w="})");
  CHECK(range_request("/k", "/l", 500, 7) == R"({"key":"L2s=","limit":"500","range_end":"L2w=","revision":"7"})");
  CHECK(grant_request(std::chrono::hours(24)) == R"({"TTL":"86400"})");
  CHECK(lease_request(7751717543356786194) == R"({"ID":"7751717543356786194"})");
  CHECK(watch_request("/k", 9) ==
        R"({"create_request":{"key":"L2s=","progress_notify":true,"range_end":"L2w=","start_revision":"9"}})");
  CHECK(commit_request({{What::create, "/k/a", "v1", 0, 5}}) ==
        R"({"compare":[{"create_revision":"0","key":"L2svYQ==","result":"EQUAL","target":"CREATE"}],)"
        R"("success":[{"request_put":{"key":"L2svYQ==","lease":"5","value":"djE="}}]})");
  CHECK(commit_request({{What::swap, "/k/a", "", 4, 0}, {What::remove, "/k/a", "", 0, 0}}) ==
        R"({"compare":[{"key":"L2svYQ==","mod_revision":"4","result":"EQUAL","target":"MOD"},)"
        R"({"create_revision":"0","key":"L2svYQ==","result":"GREATER","target":"CREATE"}],)"
        R"("success":[{"request_put":{"key":"L2svYQ==","value":""}},{"request_delete_range":{"key":"L2svYQ=="}}]})");
}

TEST_CASE("answers") {
  RangeAnswer range = parse_range(
      R"({"header":{"cluster_id":"1","revision":"8"},"kvs":[{"key":"L2svYQ==","create_revision":"2","mod_revision":"3","version":"2","value":"djE=","lease":"77"},{"key":"L2svYg==","create_revision":4,"mod_revision":4}],"more":true,"count":"9"})");
  CHECK(range.rev == 8);
  CHECK(range.more);
  REQUIRE(range.items.size() == 2);
  CHECK(range.items[0].key == "/k/a");
  CHECK(range.items[0].value == "v1");
  CHECK(range.items[0].lease == 77);
  CHECK(range.items[0].create_rev == 2);
  CHECK(range.items[0].mod_rev == 3);
  CHECK(range.items[1].lease == 0);  // nothing is left over from the one before
  CHECK(range.items[1].value.empty());
  CHECK(parse_range(R"({"header":{"revision":"8"}})").items.empty());

  CommitAnswer won = parse_commit(
      R"({"header":{"revision":"4"},"succeeded":true,"responses":[{"response_put":{"header":{"revision":"4"}}}]})");
  CHECK(won.succeeded);
  CHECK(won.rev == 4);
  CHECK_FALSE(parse_commit(R"({"header":{"revision":"9"}})").succeeded);

  CHECK(parse_lease_answer("{\"result\":{\"header\":{},\"ID\":\"77\",\"TTL\":\"60\"}}\n").ttl == 60);
  CHECK(parse_lease_answer("{\"result\":{\"header\":{},\"ID\":\"77\"}}\n").ttl == 0);
  CHECK(parse_lease_answer(R"({"header":{},"ID":"77","TTL":"-1"})").ttl == -1);
  CHECK(parse_token(R"({"header":{},"token":"OUUhTBqhNhXrdAgv.37"})") == "OUUhTBqhNhXrdAgv.37");
  CHECK_THROWS_AS(parse_token(R"({"token":"a\r\nX: y"})"), Error);

  ErrorAnswer error = parse_error(R"({"error":"etcdserver: user name is empty","message":"x","code":3})");
  CHECK(error.text == "etcdserver: user name is empty");
  CHECK(error.code == 3);
  CHECK(parse_error("Not Found\n").text == "Not Found");
  CHECK(parse_error("").text.empty());
}

TEST_CASE("watch messages") {
  WatchMessage message = parse_watch_message(
      R"({"result":{"header":{"revision":"11"},"events":[{"kv":{"key":"L2svYQ==","create_revision":"9","mod_revision":"9","value":"djE=","lease":"77"}},{"type":"DELETE","kv":{"key":"L2svYQ==","mod_revision":"11"},"prev_kv":{"key":"L2svYg==","value":"djE="}}]}})");
  REQUIRE(message.events.size() == 2);
  CHECK(message.events[0].key == "/k/a");
  CHECK(message.events[0].value == "v1");
  CHECK(message.events[0].lease == 77);
  CHECK_FALSE(message.events[0].deleted);
  CHECK(message.events[1].deleted);
  CHECK(message.events[1].key == "/k/a");
  CHECK(message.events[1].value.empty());
  CHECK(message.events[1].rev == 11);
  CHECK(parse_watch_message(R"({"result":{"header":{"revision":"8"},"created":true}})").created);
  WatchMessage gone = parse_watch_message(R"({"result":{"header":{},"canceled":true,"compact_revision":"3"}})");
  CHECK(gone.canceled);
  CHECK(gone.compacted == 3);
  CHECK(parse_watch_message(R"({"error":{"grpc_code":1,"message":"grpc: the client connection is closing"}})").error ==
        "grpc: the client connection is closing");
}

TEST_CASE("what is not etcd's is refused") {
  const char* text = GENERATE("", "{", "[]", "17", "{\"header\":{}}", R"({"header":{"revision":"x"}})", R"({"header":{"revision":"8"},"kvs":[{"key":"?"}]})",
                              R"({"header":{"revision":"99999999999999999999"}})");
  INFO(text);
  CHECK_THROWS_AS(parse_range(text), Error);
  CHECK_THROWS_AS(parse_watch_message(R"({"result":{"events":[{"kv":{"key":"L2svYQ=="}}]}})"), Error);
  CHECK_THROWS_AS(parse_watch_message(R"({"result":{"events":[{"kv":{"mod_revision":"5"}},{"kv":{"mod_revision":"4"}}]}})"), Error);
  CHECK_THROWS_AS(parse_watch_message(std::string(100, '[')), Error);
}

TEST_CASE("lines come whole however they were cut") {
  std::string stream = "one\ntwo two\n\nthree\nrest";
  for (size_t step = 1; step <= stream.size(); ++step) {
    LineSplitter splitter(16);
    std::string seen;
    for (size_t at = 0; at < stream.size(); at += step)
      REQUIRE(splitter.feed(std::string_view(stream).substr(at, step), [&](std::string_view line) {
        seen += std::string(line) + ";";
        return true;
      }));
    CHECK(seen == "one;two two;;three;");
    CHECK(splitter.rest() == "rest");
  }
  LineSplitter splitter(8);
  CHECK_FALSE(splitter.feed("123456789", [](std::string_view) { return true; }));
  CHECK(splitter.overflowed());
}
