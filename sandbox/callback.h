// Callback: how a worker in a job reaches its relay without the job's own pipe, where a message
// beyond a kilobyte takes some 40 ms. The relay listens on the one address that the cluster knows
// it by; the worker, which is told address and token on that pipe, connects there. Not a byte of a
// peer is looked at before it has sent the token, 64 characters of fixed length; who sends anything
// else, or nothing for 5 s, is cut off. What travels is no more hidden from the cluster's network
// than the pipe's bytes are. Owned by the relay; accept() is for one thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "mcp/json.h"
#include "mcp/result.h"

namespace gpumcp::sandbox {

class Callback {
 public:
  // On one address of this machine, at a free port.
  static mcp::Result<std::unique_ptr<Callback>> listen(const std::string& address);
  ~Callback();
  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;

  mcp::Json describe() const;  // what connect_back() takes: address, port, token
  // The first peer that knows the token, as a descriptor; error timeout: there was none.
  mcp::Result<int> accept(std::chrono::milliseconds patience);

 private:
  Callback(int fd, std::string address, int port, std::string token)
      : fd_(fd), address_(std::move(address)), port_(port), token_(std::move(token)) {}

  const int fd_;
  const std::string address_;
  const int port_;
  const std::string token_;
};

// The worker's side; the error says why it cannot be reached that way.
mcp::Result<int> connect_back(const mcp::Json& callback);

// The address of this machine by which it reaches the cluster: $GPUMCP_CALLBACK if that is set,
// else that of the way to Slurm's controller. Empty: unknown, or GPUMCP_CALLBACK=off.
std::string callback_address();

}  // namespace gpumcp::sandbox
