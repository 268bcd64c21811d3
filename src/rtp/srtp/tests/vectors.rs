//! The test vectors of RFC 3711 appendix B, RFC 6188 §7 and RFC 7714 §16 and §17.

use super::*;
use crate::base::{SrtpKey, SrtpSuite};
use crate::rtp::srtp::cipher::keystream;
use aes::Aes128Enc;
use aes::cipher::KeyInit;

const QUID_PRO_QUO: [u8; 12] = *b"Quid pro quo";

#[test]
fn aes_cm_keystream_of_rfc_3711_b2() {
    // The keystream is what zeros become; source and index are zero.
    let (key, iv) = (bytes("2B7E151628AED2A6ABF7158809CF4F3C"), bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000"));
    let mut stream = vec![0; 0xFF02 * 16];
    let aes = Aes128Enc::new_from_slice(&key).unwrap();
    keystream(&aes, iv.as_slice().try_into().unwrap(), &mut stream);
    for (block, expected) in [
        (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
        (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
        (2, "41E95B3BB0A2E8DD477901E4FCA894C0"),
        (0xFEFF, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
        (0xFF00, "362B7C3C6773516318A077D7FC5073AE"),
        (0xFF01, "6A2CC3787889374FBEB4C81B17BA6C44"),
    ] {
        assert_eq!(stream[block * 16..][..16], bytes(expected), "{block:x}");
    }
}

#[test]
fn key_derivation_of_rfc_3711_b3() {
    let key = bytes("E1F97A0D3E018BE0D64FA32C06DE4139");
    let salt = bytes("0EC675AD498AFEEBB6960B3AABE6");
    assert_eq!(derive::<16>(&key, &salt, 0).to_vec(), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derive::<14>(&key, &salt, 2).to_vec(), bytes("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(derive::<20>(&key, &salt, 1).to_vec(), bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

#[test]
fn key_derivation_with_256_bits_of_rfc_6188() {
    let key = bytes("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6");
    let salt = bytes("3b04803de51ee7c96423ab5b78d2");
    let expected = "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4";
    assert_eq!(derive::<32>(&key, &salt, 0).to_vec(), bytes(expected));
    assert_eq!(derive::<14>(&key, &salt, 2).to_vec(), bytes("fa31791685ca444a9e07c6c64e93"));
    assert_eq!(derive::<20>(&key, &salt, 1).to_vec(), bytes("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
}

fn counting<const N: usize>() -> [u8; N] {
    std::array::from_fn(|n| n as u8)
}

#[test]
fn aes_gcm_rtp_of_rfc_7714_16() {
    let plain = bytes(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573",
    );
    for (cipher, expected) in [
        (
            Cipher::gcm128(&counting(), QUID_PRO_QUO),
            "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf
             8833899d 7f27beb1 6a9152cf 765ee439 0cce",
        ),
        (
            Cipher::gcm256(&counting(), QUID_PRO_QUO),
            "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799
             b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
        ),
    ] {
        let mut room = plain.clone();
        room.resize(plain.len() + 16, 0);
        let (header, sequence, ssrc) = read_rtp(&plain).unwrap();
        let index = u64::from(sequence);
        assert_eq!(cipher.seal_rtp(&mut room, header, plain.len(), ssrc, index), Ok(plain.len() + 16));
        assert_eq!(room, bytes(expected));
        assert_eq!(cipher.check_rtp(&room, header, ssrc, index), Ok(()));
        assert_eq!(cipher.open_rtp(&mut room, header, ssrc, index), Ok(plain.len()));
        assert_eq!(room[..plain.len()], plain);
    }
}

#[test]
fn aes_gcm_rtcp_of_rfc_7714_17() {
    let plain = bytes(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef",
    );
    for (cipher, expected) in [
        (
            Cipher::gcm128(&counting(), QUID_PRO_QUO),
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded
             0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        ),
        (
            Cipher::gcm256(&counting(), QUID_PRO_QUO),
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 c61de047
             6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ),
    ] {
        let mut room = plain.clone();
        room.resize(plain.len() + 20, 0);
        let ssrc = rtcp_source(&plain).unwrap();
        assert_eq!(cipher.seal_rtcp(&mut room, plain.len(), ssrc, 0x5D4), Ok(plain.len() + 20));
        assert_eq!(room, bytes(expected));
        assert_eq!(cipher.rtcp_index(&room), Some(0x8000_05D4));
        assert_eq!(cipher.open_rtcp(&mut room, ssrc, 0x5D4), Ok(plain.len()));
        assert_eq!(room[..plain.len()], plain);
    }
}

/// What libsrtp 2.5 makes of the same packets under the key 1, 2, 3 …: two RTP packets around a wrap and an RTCP packet with
/// index 1. Unlike the vectors above these go from master key to wire.
#[test]
fn packets_are_those_of_libsrtp() {
    let rtp = |sequence: u16| {
        let mut packet = bytes("8000 0000 00000009 cafebabe");
        packet[2..4].copy_from_slice(&sequence.to_be_bytes());
        packet.extend(b"twenty octets of talk");
        packet
    };
    let rtcp = bytes("80c90001 cafebabe 81ca0001 cafebabe");
    for (suite, before_wrap, after_wrap, report) in [
        (
            SrtpSuite::AeadAes256Gcm,
            "8000ffff00000009cafebabe03b01002c5b955e625bbbd3082530f7939f3acb6484f9374c01db2b68d024089afa2e86982",
            "8000000000000009cafebabef5b86626c98953ada0d91b3815e781a251cab4a669c8afc32e519b63867970734cee95ee56",
            "80c90001cafebabeaf994aa1d34eeb2fa74f22e067c4b04d3eef05545426bdd080000001",
        ),
        (
            SrtpSuite::AeadAes128Gcm,
            "8000ffff00000009cafebabe672ba6f8253088e10460c2b2558517d4aca511c039acd66d26b60421bdce0858c80206829f",
            "8000000000000009cafebabe928ff1ef9bffa801f0e74a505d53a9a23f1df22b2b7a4bcef8d5ecd7fe8fd0c59da8895a45",
            "80c90001cafebabef11dc81e126e354aa0fc7c7e8e73e02720290257b71de03880000001",
        ),
        (
            SrtpSuite::AesCm128HmacSha1Tag80,
            "8000ffff00000009cafebabe9bd76d01e6bd24430a0e85f45f1a2199a2e6e9517a29ced13999588659aae4",
            "8000000000000009cafebabeafe3f81f753abe2cffed42cef148c2525b3dac19ecbb1bf370afc2b734d5ba",
            "80c90001cafebabe29910959ff8307438000000171370875b2119bafd70d",
        ),
        (
            SrtpSuite::AesCm128HmacSha1Tag32,
            "8000ffff00000009cafebabe9bd76d01e6bd24430a0e85f45f1a2199a2e6e9517a29ced139",
            "8000000000000009cafebabeafe3f81f753abe2cffed42cef148c2525b3dac19ecbb1bf370",
            "80c90001cafebabe29910959ff8307438000000171370875b2119bafd70d",
        ),
    ] {
        let octets: Vec<u8> = (1..=44).collect();
        let key = SrtpKey::new(suite, &octets[..suite.key_length() + suite.salt_length()]).unwrap();
        let (mut sender, mut receiver) = (SrtpSender::new(&key), SrtpReceiver::new(&key));
        for (sequence, expected) in [(65_535, before_wrap), (0, after_wrap)] {
            let sealed = protected(&mut sender, &rtp(sequence));
            assert_eq!(sealed, bytes(expected), "{suite} {sequence}");
            assert_eq!(opened(&mut receiver, &sealed), Ok(rtp(sequence)));
        }
        // Our first index is 0.
        sealed_rtcp(&mut sender, &rtcp);
        let mut sealed = sealed_rtcp(&mut sender, &rtcp);
        assert_eq!(sealed, bytes(report), "{suite}");
        assert_eq!(receiver.unprotect_rtcp(&mut sealed), Ok(rtcp.len()));
        assert_eq!(sealed[..rtcp.len()], rtcp);
    }
}
