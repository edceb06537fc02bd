# OpenSSL's libcrypto >= 1.1.1 (Debian: libssl-dev), Apache-2.0 (3.x). AES-256-GCM and SHA-256 for the sealed request
# state of multi-round requests: cryptography is not written by hand.
find_package(OpenSSL 1.1.1 REQUIRED COMPONENTS Crypto)
set_target_properties(OpenSSL::Crypto PROPERTIES IMPORTED_GLOBAL TRUE)
