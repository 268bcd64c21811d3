//! Header fields: their names, and typed views of their values that borrow from the message.

pub mod address;
pub mod cseq;
pub mod field;
pub mod name;
pub mod params;
pub mod value;
pub mod via;

pub use address::{Contacts, NameAddr};
pub use cseq::{CSeq, RAck};
pub use field::{ContentType, Reason, Refresher, Replaces, SessionExpires, Tagged, Warning};
pub use name::HeaderName;
pub use params::{Elements, Params};
pub use value::{HeaderValue, InvalidValue};
pub use via::Via;
