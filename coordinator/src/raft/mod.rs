//! The raft group: node, driver, log store, transport.
