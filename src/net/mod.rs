//! The shell around `sip::Endpoint`: sockets, clock and task.
