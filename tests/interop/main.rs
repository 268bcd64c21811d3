//! Calls with real peers: Asterisk, pjsua, baresip, linphonec, sipp and Kamailio (see `README.md`). One binary, because
//! linking a server into each file takes longer than running it.

mod asterisk;
#[path = "../common/mod.rs"]
mod common;
mod dialogs;
mod echo;
mod harness;
mod hub;
mod load;
mod media;
mod own;
mod phones;
mod sound;
mod support;
mod table;
mod telephones;
mod transports;
