//! Small pictures, each in a colour that its name decides.
//!
//! **Invariant:** a well-formed PNG; the same name gives the same bytes.

/// Width and height, in pixels.
const SIDE: usize = 32;

/// A picture for a name.
pub(super) fn of(name: &str) -> Vec<u8> {
    let mixed = adler32(name.as_bytes()).wrapping_mul(0x9E37_79B1).to_be_bytes();
    let mut rows = Vec::with_capacity(SIDE * (1 + 3 * SIDE));
    for row in 0..SIDE {
        // Each row begins with its filter: none.
        rows.push(0);
        for column in 0..SIDE {
            let dark = (row / 4 + column / 4) % 2 == 0;
            rows.extend(mixed[..3].iter().map(|part| if dark { part / 2 } else { *part }));
        }
    }
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    // 32 by 32 pixels of 8 bits, red, green and blue.
    chunk(&mut png, b"IHDR", &[0, 0, 0, 32, 0, 0, 0, 32, 8, 2, 0, 0, 0]);
    chunk(&mut png, b"IDAT", &stored(&rows));
    chunk(&mut png, b"IEND", &[]);
    png
}

/// **Source:** PNG specification (ISO/IEC 15948), section 5.3.
fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    let mut summed = kind.to_vec();
    summed.extend(data);
    png.extend(&summed);
    png.extend(crc32(&summed).to_be_bytes());
}

/// A zlib stream of one stored block. **Source:** RFC 1950 and RFC 1951, section 3.2.4.
fn stored(data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or_default();
    let mut stream = vec![0x78, 0x01, 0x01];
    stream.extend(length.to_le_bytes());
    stream.extend((!length).to_le_bytes());
    stream.extend(data);
    stream.extend(adler32(data).to_be_bytes());
    stream
}

fn crc32(data: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { 0xEDB8_8320 ^ (sum >> 1) } else { sum >> 1 };
    !data.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}

fn adler32(data: &[u8]) -> u32 {
    let (low, high) = data.iter().fold((1_u32, 0_u32), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % 65_521;
        (low, (high + low) % 65_521)
    });
    (high << 16) | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_their_specifications() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(adler32(b"Wikipedia"), 0x11E6_0398);
    }

    #[test]
    fn names_give_pictures_of_their_own() {
        assert_eq!(of("one"), of("one"));
        assert_ne!(of("one"), of("two"));
    }
}
