use super::*;

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

#[test]
fn the_key_line_of_rfc_4568_is_read_and_written() {
    let line = CryptoLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20")).unwrap();
    assert_eq!((line.tag, line.key.suite(), line.key.lifetime()), (1, Suite::AesCm128HmacSha1Tag80, Some(1 << 20)));
    assert_eq!(line.key.master_key(), b"YS___semctl () {");
    assert_eq!(line.key.master_salt(), b"\t220;}\n}\nunles");
    assert_eq!(line.to_value(), format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20"));
}
