//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): the cipher of every box.
//!
//! **Invariant:** what is sealed is a random nonce, then the ciphertext, then the tag, for ever; property tests hold it
//! against another implementation.
//!
//! `HChaCha20` derives a key and half of a nonce, with which AWS-LC's ChaCha20-Poly1305 (RFC 8439) does the work: the boxes
//! of events are some hundred bytes, and its code for them is several times as fast as that of `RustCrypto`
//! (`docs/adr/0011-aead-of-aws-lc.md`).

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20::R20;
use zeroize::Zeroizing;

use super::SealError;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 24;
/// Bytes of the nonce that `HChaCha20` takes in.
const DERIVING_BYTES: usize = 16;
/// Bytes of a tag.
const TAG_BYTES: usize = 16;

/// Appends to `out` the box of `clear`, which opens only with the same `associated` data.
///
/// # Errors
/// [`SealError::NoRandomness`] when no nonce could be drawn; [`SealError::Content`] when `clear` is longer than the
/// cipher takes (256 GiB).
pub fn seal(key: &[u8; KEY_BYTES], clear: &[u8], associated: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(|_| SealError::NoRandomness)?;
    seal_with(key, &nonce, clear, associated, out)
}

fn seal_with(
    key: &[u8; KEY_BYTES],
    nonce: &[u8; NONCE_BYTES],
    clear: &[u8],
    associated: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), SealError> {
    let (cipher, short_nonce) = derive(key, nonce).ok_or(SealError::Content)?;
    out.reserve(NONCE_BYTES + clear.len() + TAG_BYTES);
    out.extend_from_slice(nonce);
    let start = out.len();
    out.extend_from_slice(clear);
    let sealed = cipher.seal_in_place_separate_tag(short_nonce, Aad::from(associated), &mut out[start..]);
    let tag = sealed.map_err(|_| SealError::Content)?;
    out.extend_from_slice(tag.as_ref());
    Ok(())
}

/// Opens a box.
///
/// # Errors
/// [`SealError::Malformed`] when it is shorter than a nonce; [`SealError::Forged`] when the key, the bytes or the
/// `associated` data are not those of the sealing.
pub(crate) fn open(key: &[u8; KEY_BYTES], sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SealError::Malformed)?;
    let (cipher, short_nonce) = derive(key, nonce).ok_or(SealError::Forged)?;
    let mut clear = sealed.to_vec();
    let opened = cipher.open_in_place(short_nonce, Aad::from(associated), &mut clear);
    let length = opened.map_err(|_| SealError::Forged)?.len();
    clear.truncate(length);
    Ok(clear)
}

/// The key and the nonce of ChaCha20-Poly1305 for one box.
fn derive(key: &[u8; KEY_BYTES], nonce: &[u8; NONCE_BYTES]) -> Option<(LessSafeKey, Nonce)> {
    let (deriving, rest) = nonce.split_first_chunk::<DERIVING_BYTES>()?;
    let derived = Zeroizing::new(<[u8; KEY_BYTES]>::from(chacha20::hchacha::<R20>(key.into(), deriving.into())));
    let mut short = [0; aws_lc_rs::aead::NONCE_LEN];
    short.last_chunk_mut::<8>()?.copy_from_slice(rest.first_chunk::<8>()?);
    let cipher = UnboundKey::new(&CHACHA20_POLY1305, derived.as_slice()).ok()?;
    // Every box has a random nonce and so a key of its own here.
    Some((LessSafeKey::new(cipher), Nonce::assume_unique_for_key(short)))
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::aead::{Aead, Payload};
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
    use proptest::prelude::*;

    use super::*;

    /// **Source:** draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_vector_of_the_draft_seals_as_written() {
        let key: [u8; KEY_BYTES] = std::array::from_fn(|at| 0x80 + u8::try_from(at).unwrap());
        let nonce: [u8; NONCE_BYTES] = std::array::from_fn(|at| 0x40 + u8::try_from(at).unwrap());
        let associated = hex::decode("50515253c0c1c2c3c4c5c6c7").unwrap();
        let clear = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, \
            sunscreen would be it.";
        let mut sealed = Vec::new();
        seal_with(&key, &nonce, clear, &associated, &mut sealed).unwrap();
        let expected = "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39\
            ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c9763\
            7da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49";
        assert_eq!(hex::encode(&sealed[NONCE_BYTES..]), expected);
        assert_eq!(open(&key, &sealed, &associated).unwrap(), clear);
    }

    proptest! {
        #[test]
        fn each_implementation_opens_what_the_other_sealed(
            key: [u8; KEY_BYTES],
            nonce: [u8; NONCE_BYTES],
            clear in proptest::collection::vec(any::<u8>(), 0..600),
            associated in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let other = XChaCha20Poly1305::new((&key).into());
            let (short, payload) = (XNonce::from(nonce), Payload { msg: &clear, aad: &associated });
            let theirs = [nonce.as_slice(), &other.encrypt(&short, payload).unwrap()].concat();
            let mut ours = Vec::new();
            seal_with(&key, &nonce, &clear, &associated, &mut ours).unwrap();
            prop_assert_eq!(&ours, &theirs);
            prop_assert_eq!(open(&key, &theirs, &associated).unwrap(), clear);
        }

        #[test]
        fn one_turned_bit_anywhere_and_the_box_stays_shut(
            clear in proptest::collection::vec(any::<u8>(), 0..200),
            place: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let mut sealed = Vec::new();
            seal(&[7; KEY_BYTES], &clear, b"event", &mut sealed).unwrap();
            let place = place.index(sealed.len());
            sealed[place] ^= 1 << bit;
            prop_assert_eq!(open(&[7; KEY_BYTES], &sealed, b"event"), Err(SealError::Forged));
        }
    }

    #[test]
    fn what_is_no_box_has_no_form_and_what_is_cut_is_forged() {
        assert_eq!(open(&[7; KEY_BYTES], &[0; NONCE_BYTES - 1], b""), Err(SealError::Malformed));
        assert_eq!(open(&[7; KEY_BYTES], &[0; NONCE_BYTES + TAG_BYTES - 1], b""), Err(SealError::Forged));
    }
}
