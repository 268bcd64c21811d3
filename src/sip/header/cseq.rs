//! CSeq and RAck: the order of requests in a dialog (RFC 3261 §20.16, RFC 3262 §7.2).

use crate::sip::method::Method;
use crate::sip::parse::{Cursor, Fault, is_token, number};
use std::fmt;

/// A sequence number with its method.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CSeq {
    /// The number. Senders start below 2³¹ (§8.1.1.5); the grammar allows 32 bits.
    pub number: u32,
    /// The method, which must equal the request's.
    pub method: Method,
}

impl CSeq {
    /// Reads a CSeq value.
    ///
    /// # Errors
    /// If the number does not fit 32 bits or the method is no token.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(value);
        let cseq = Self::read(&mut cursor)?;
        cursor.skip_lws();
        if cursor.at_end() { Ok(cseq) } else { Err(cursor.fault("nothing after the method")) }
    }

    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Fault> {
        let number = number(cursor.take_while(|b| b.is_ascii_digit()))
            .ok_or_else(|| cursor.fault("a sequence number of 32 bits"))?;
        let before = cursor.rest().len();
        cursor.skip_lws();
        if cursor.rest().len() == before {
            return Err(cursor.fault("white space after the sequence number"));
        }
        let method = Method::parse(cursor.take_while(is_token)).ok_or_else(|| cursor.fault("a method"))?;
        Ok(Self { number, method })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// Which reliable provisional response a PRACK acknowledges.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RAck {
    /// The response's RSeq.
    pub rseq: u32,
    /// The response's CSeq.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads a RAck value.
    ///
    /// # Errors
    /// If a number does not fit 32 bits or the method is no token.
    pub fn parse(value: &[u8]) -> Result<Self, Fault> {
        let mut cursor = Cursor::new(value);
        let rseq = number(cursor.take_while(|b| b.is_ascii_digit()))
            .ok_or_else(|| cursor.fault("a response number of 32 bits"))?;
        cursor.skip_lws();
        Ok(Self { rseq, cseq: CSeq::parse(cursor.rest())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_keep_to_32_bits_and_leading_zeros_count_nothing() {
        assert_eq!(CSeq::parse(b"0009\r\n  INVITE").unwrap(), CSeq { number: 9, method: Method::Invite });
        assert_eq!(CSeq::parse(b"4294967295 FOO").unwrap().to_string(), "4294967295 FOO");
        for bad in [
            &b""[..],
            b"1",
            b"1INVITE",
            b"INVITE",
            b"-1 INVITE",
            b"36893488147419103232 REGISTER",
            b"1 INVITE x",
            b"1 IN<VITE",
        ] {
            assert!(CSeq::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
        assert_eq!(RAck::parse(b"776656 1 INVITE").unwrap().rseq, 776_656);
    }
}
