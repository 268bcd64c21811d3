//! SIP as pure machines: messages, transactions, dialogs, registrations. No socket, no clock.

pub mod timer;
