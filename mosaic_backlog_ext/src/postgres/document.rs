//! How long a JSON document is as text, told without writing it out: `1e131071` takes a few bytes
//! as it is stored, and 131 kB as it is sent.

use pgrx::prelude::*;

/// What becomes of a jsonb value as text.
#[derive(Clone, Copy, Default)]
pub struct Extent {
    /// Bytes, as PostgreSQL writes it.
    pub bytes: u64,
    /// Arrays and objects within each other.
    pub depth: usize,
}

/// Measures a jsonb value. It reads the whole of it, and needs memory for that.
pub fn extent(value: pg_sys::Datum) -> Extent {
    use pg_sys::JsonbIteratorToken::*;
    let mut extent = Extent::default();
    let mut depth = 0_usize;
    let stored = value.cast_mut_ptr::<pg_sys::varlena>();
    // SAFETY: a jsonb value points at what it has, or where that lies; the whole of it is in memory from
    // here on, and is freed when the last part was read, where it is a copy.
    let whole = unsafe { pg_sys::pg_detoast_datum(stored) };
    // SAFETY: a whole jsonb value begins with its root.
    let mut iterator =
        unsafe { pg_sys::JsonbIteratorInit(&raw mut (*whole.cast::<pg_sys::Jsonb>()).root) };
    let mut part = pg_sys::JsonbValue::default();
    loop {
        // SAFETY: the iterator is of this value until it is done, after which it is not asked again.
        let token = unsafe { pg_sys::JsonbIteratorNext(&mut iterator, &mut part, false) };
        extent.bytes += match token {
            WJB_DONE => break,
            // `"key": `
            WJB_KEY => scalar(&part) + 2,
            WJB_VALUE | WJB_ELEM => scalar(&part),
            WJB_BEGIN_ARRAY | WJB_BEGIN_OBJECT => match parts(&part) {
                None => 0,
                Some(parts) => {
                    depth += 1;
                    extent.depth = extent.depth.max(depth);
                    // The brackets, and `, ` between the parts.
                    2 + 2 * (parts.max(1) - 1) as u64
                }
            },
            _ => {
                depth = depth.saturating_sub(1);
                0
            }
        };
    }
    if whole != stored {
        // SAFETY: a copy, which nobody else has.
        unsafe { pg_sys::pfree(whole.cast()) };
    }
    extent
}

/// How many parts an array or object has. A scalar alone is stored as an array without brackets.
#[allow(non_upper_case_globals)]
fn parts(value: &pg_sys::JsonbValue) -> Option<i32> {
    use pg_sys::jbvType::*;
    // SAFETY: its type tells which kind of value it holds.
    unsafe {
        match value.type_ {
            jbvArray if value.val.array.rawScalar => None,
            jbvArray => Some(value.val.array.nElems),
            jbvObject => Some(value.val.object.nPairs),
            _ => None,
        }
    }
}

/// Bytes of a part that has no parts.
#[allow(non_upper_case_globals)]
fn scalar(value: &pg_sys::JsonbValue) -> u64 {
    use pg_sys::jbvType::*;
    // SAFETY: its type tells which kind of value it holds. A string has a start and a length; a number
    // points at its bytes as they are stored, with their length.
    unsafe {
        match value.type_ {
            jbvNull => 4,
            jbvBool => 5 - u64::from(value.val.boolean),
            jbvString => {
                let (start, length) = (value.val.string.val, value.val.string.len);
                string(std::slice::from_raw_parts(start.cast(), length as usize))
            }
            jbvNumeric => {
                let stored = value.val.numeric.cast::<pg_sys::varlena>();
                let start = pgrx::varlena::vardata_any(stored).cast::<u8>();
                let length = pgrx::varlena::varsize_any_exhdr(stored);
                number(std::slice::from_raw_parts(start, length))
            }
            _ => 0,
        }
    }
}

/// A string between quotes, with what JSON escapes.
pub fn string(bytes: &[u8]) -> u64 {
    let escaped = bytes.iter().map(|byte| match byte {
        b'"' | b'\\' | 8 | 9 | 10 | 12 | 13 => 2,
        0..=31 => 6,
        _ => 1,
    });
    2 + escaped.sum::<u64>()
}

/// A numeric as it lies on disk, which no version of PostgreSQL may change: a head of two bytes or
/// four, then digits to the base of 10,000.
fn number(stored: &[u8]) -> u64 {
    let word = |at: usize| {
        let bytes = stored.get(2 * at..2 * at + 2);
        bytes.map_or(0, |b| u16::from_ne_bytes([b[0], b[1]]))
    };
    let head = word(0);
    let is_short = head & 0x8000 != 0;
    let (is_negative, scale, weight, first) = if is_short {
        let weight = i64::from(head & 0x3F);
        let weight = if head & 0x40 == 0 {
            weight
        } else {
            weight - 64
        };
        (head & 0x2000 != 0, (head & 0x1F80) >> 7, weight, word(1))
    } else {
        let weight = i64::from(word(1) as i16);
        (head & 0xC000 == 0x4000, head & 0x3FFF, weight, word(2))
    };
    let whole = match weight {
        // Zero before the point.
        ..0 => 1,
        _ => u64::from(first.max(1).ilog10()) + 1 + 4 * weight as u64,
    };
    u64::from(is_negative) + whole + if scale > 0 { 1 + u64::from(scale) } else { 0 }
}
