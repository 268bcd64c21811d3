//! Which transaction a message belongs to: RFC 3261 §17.1.3 and §17.2.3.

use crate::sip::method::Method;

/// The identity of a transaction. Compare whole; two transactions with equal keys are one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Key {
    /// A transaction of ours: our branch, which nobody can guess, and the CSeq method.
    Client {
        /// Branch of the top Via.
        branch: Box<str>,
        /// Method of the CSeq.
        method: Method,
    },
    /// A transaction of a peer that follows RFC 3261.
    Server {
        /// Branch of the top Via, with its magic cookie.
        branch: Box<str>,
        /// Host and port of the top Via, lower case: two peers may draw the same branch.
        sent_by: Box<str>,
        /// The method; INVITE for an ACK.
        method: Method,
    },
    /// A transaction of a peer that writes no magic cookie (RFC 2543).
    Rfc2543 {
        /// Request-URI as sent.
        request_uri: Box<str>,
        /// Tag of From.
        from_tag: Box<str>,
        /// Call-ID.
        call_id: Box<[u8]>,
        /// Number of the CSeq.
        cseq: u32,
        /// The whole top Via as sent.
        via: Box<[u8]>,
        /// The method; INVITE for an ACK.
        method: Method,
    },
}

impl Key {
    /// The key of a transaction of ours.
    #[must_use]
    pub fn client(branch: &str, method: Method) -> Self {
        Self::Client { branch: branch.into(), method }
    }

    /// The key of a peer's transaction by branch and sent-by. An ACK gets the key of its INVITE.
    #[must_use]
    pub fn server(branch: &str, sent_by: &str, method: &Method) -> Self {
        Self::Server {
            branch: branch.into(),
            sent_by: sent_by.to_ascii_lowercase().into(),
            method: if *method == Method::Ack { Method::Invite } else { method.clone() },
        }
    }

    /// The key of the INVITE that a CANCEL with this key is for (RFC 3261 §9.2). `None` for a client's key.
    #[must_use]
    pub fn cancelled_invite(&self) -> Option<Self> {
        let mut key = self.clone();
        match &mut key {
            Self::Client { .. } => return None,
            Self::Server { method, .. } | Self::Rfc2543 { method, .. } => *method = Method::Invite,
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ack_and_a_cancel_find_their_invite() {
        let invite = Key::server("z9hG4bK1", "A.example:5060", &Method::Invite);
        assert_eq!(Key::server("z9hG4bK1", "a.example:5060", &Method::Ack), invite);
        let cancel = Key::server("z9hG4bK1", "a.example:5060", &Method::Cancel);
        assert_ne!(cancel, invite);
        assert_eq!(cancel.cancelled_invite(), Some(invite));
        assert_eq!(Key::client("z9hG4bK1", Method::Cancel).cancelled_invite(), None);
    }

    #[test]
    fn the_same_branch_of_two_hosts_is_two_transactions() {
        let a = Key::server("z9hG4bK1", "a.example", &Method::Bye);
        assert_ne!(a, Key::server("z9hG4bK1", "b.example", &Method::Bye));
        assert_ne!(a, Key::server("z9hG4bK1", "a.example:5060", &Method::Bye));
    }
}
