//! The end of a certificate's validity, read from its DER encoding (RFC 5280, section 4.1).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// Tag of the version, which certificates of version 1 do not have.
const VERSION: u8 = 0xa0;

/// Time until which the certificate is valid; `None` for an encoding that is not understood.
pub fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    let mut outer = element(&mut &*certificate, SEQUENCE)?;
    let mut certificate = element(&mut outer, SEQUENCE)?;
    if certificate.first() == Some(&VERSION) {
        element(&mut certificate, VERSION)?;
    }
    element(&mut certificate, INTEGER)?;
    // Algorithm of the signature, and issuer.
    element(&mut certificate, SEQUENCE)?;
    element(&mut certificate, SEQUENCE)?;
    let mut validity = element(&mut certificate, SEQUENCE)?;
    time(&mut validity)?;
    time(&mut validity)
}

/// Content of the next element, which must have this tag. Moves `der` behind the element.
fn element<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, length], rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => {
            let (&[length], rest) = rest.split_first_chunk::<1>()?;
            (usize::from(length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *der = rest;
    (found == tag).then_some(content)
}

/// The next element as a time, with two or four digits for the year.
fn time(der: &mut &[u8]) -> Option<Timestamp> {
    let digits = |text: &[u8]| std::str::from_utf8(text).ok()?.strip_suffix('Z').map(str::to_owned);
    let text = match *der.first()? {
        UTC_TIME => {
            let text = digits(element(der, UTC_TIME)?)?;
            let century = if text.as_str() < "50" { "20" } else { "19" };
            format!("{century}{text}")
        }
        _ => digits(element(der, GENERALIZED_TIME)?)?,
    };
    Offset::UTC.to_timestamp(DateTime::strptime("%Y%m%d%H%M%S", text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(years: (i32, i32)) -> rcgen::Certificate {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 2);
        params.not_after = rcgen::date_time_ymd(years.1, 3, 4);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_a_time() {
        for (years, expected) in [((1999, 2030), "2030-03-04T00:00:00Z"), ((2040, 2061), "2061-03-04T00:00:00Z")] {
            assert_eq!(not_after(certificate(years).der()), Some(expected.parse().unwrap()), "{years:?}");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_certificate_has_no_end() {
        let whole = certificate((2020, 2030));
        for length in 0..whole.der().len() {
            assert_eq!(not_after(&whole.der()[..length]), None, "{length}");
        }
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(not_after(b"-----BEGIN CERTIFICATE-----"), None);
    }
}
