//! Arguments and results in the binary form of PostgreSQL. pgrx passes `inet` and `jsonb` as text,
//! and the conversion would cost more than the functions do.

use pgrx::callconv::{Arg, ArgAbi, BoxRet, FcInfo};
use pgrx::datum::{Datum, FromDatum, IntoDatum};
use pgrx::nullable::Nullable;
use pgrx::pgrx_sql_entity_graph::metadata::{
    ArgumentError, ReturnsError, ReturnsRef, SqlMappingRef, SqlTranslatable, TypeOrigin,
};
use pgrx::{pg_sys, varlena};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An `inet` value without its mask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) IpAddr);

/// An `inet` value with its mask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network {
    pub(crate) address: IpAddr,
    /// Length of the mask, 0 to 32 or 128.
    pub(crate) bits: u8,
}

/// A `jsonb` value that is not parsed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawJsonb(pub(crate) pg_sys::Datum);

/// A `text` value in the encoding of the database.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawText(pub(crate) pg_sys::Datum);

/// A row of `qsessions.session_data`, as a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionRow(pub(crate) pg_sys::Datum);

impl RawJsonb {
    /// The size of the value in bytes, before compression.
    pub(crate) fn size(self) -> usize {
        // SAFETY: the datum is a jsonb, which is a varlena, and lives as long as the call.
        unsafe { pg_sys::toast_raw_datum_size(self.0) }
    }

    /// Gives `work` the bytes of the value.
    pub(crate) fn with_bytes<R>(self, work: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: the datum is a jsonb, which is a varlena. Its detoasted form lives in the memory
        // context of the call, which outlives `work`.
        let bytes = unsafe {
            varlena::varlena_to_byte_slice(pg_sys::pg_detoast_datum_packed(self.0.cast_mut_ptr()))
        };
        work(bytes)
    }

    /// Parses JSON text that the extension has made.
    pub(crate) fn from_json_text(text: &str) -> Self {
        let text = std::ffi::CString::new(text).expect("JSON text escapes NUL");
        // SAFETY: jsonb_in takes one cstring and returns a jsonb.
        let datum = unsafe {
            pgrx::direct_function_call_as_datum(
                pg_sys::jsonb_in,
                &[Some(pg_sys::Datum::from(text.as_ptr()))],
            )
        };
        Self(datum.expect("jsonb_in never returns null"))
    }

    /// Gives `work` the members of the object that are texts. What is not an object has none.
    pub(crate) fn with_texts<R>(self, work: impl FnOnce(Texts<'_>) -> R) -> R {
        // SAFETY: the datum is a jsonb. Its detoasted form, and the iterator, live in the memory
        // context of the call, which outlives `work`, and `work` cannot keep what borrows from them.
        let iterator = unsafe {
            let jsonb: *mut pg_sys::Jsonb = pg_sys::pg_detoast_datum(self.0.cast_mut_ptr()).cast();
            pg_sys::JsonbIteratorInit(&raw mut (*jsonb).root)
        };
        work(Texts {
            iterator,
            jsonb: PhantomData,
        })
    }
}

impl RawText {
    pub(crate) fn ends_with(self, byte: u8) -> bool {
        // SAFETY: the datum is a text, which is a varlena, and its detoasted form lives as long as
        // the call.
        let bytes = unsafe {
            varlena::varlena_to_byte_slice(pg_sys::pg_detoast_datum_packed(self.0.cast_mut_ptr()))
        };
        bytes.last() == Some(&byte)
    }

    /// The first characters of the text.
    pub(crate) fn left(self, length: i32) -> Self {
        // SAFETY: the datum is a text, which is a varlena, and lives as long as the call.
        let bytes = unsafe { pg_sys::toast_raw_datum_size(self.0) } - pg_sys::VARHDRSZ;
        // It has no more characters than bytes.
        if usize::try_from(length).is_ok_and(|length| bytes <= length) {
            return self;
        }
        // SAFETY: text_left takes a text and an integer, and returns a text.
        let datum = unsafe {
            pgrx::direct_function_call_as_datum(
                pg_sys::text_left,
                &[Some(self.0), Some(pg_sys::Datum::from(length))],
            )
        };
        Self(datum.expect("text_left never returns null"))
    }
}

/// The members of an object that are texts, with their names.
pub(crate) struct Texts<'a> {
    iterator: *mut pg_sys::JsonbIterator,
    jsonb: PhantomData<&'a str>,
}

impl<'a> Texts<'a> {
    /// The next key, or the next value. Values that have members are not entered.
    fn next_token(&mut self) -> (pg_sys::JsonbIteratorToken::Type, pg_sys::JsonbValue) {
        let mut value = pg_sys::JsonbValue::default();
        // SAFETY: the iterator is one of JsonbIteratorInit, or null after the last token, which
        // JsonbIteratorNext takes for the end.
        let token =
            unsafe { pg_sys::JsonbIteratorNext(&raw mut self.iterator, &raw mut value, true) };
        (token, value)
    }
}

/// None if the value is not a text, or not one in UTF-8.
fn text<'a>(value: &pg_sys::JsonbValue) -> Option<&'a str> {
    if value.type_ != pg_sys::jbvType::jbvString {
        return None;
    }
    // SAFETY: the type tells which field of the union is set. Its text is part of the jsonb.
    let bytes = unsafe {
        let string = value.val.string;
        std::slice::from_raw_parts(string.val.cast(), usize::try_from(string.len).ok()?)
    };
    std::str::from_utf8(bytes).ok()
}

impl<'a> Iterator for Texts<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        use pg_sys::JsonbIteratorToken::{WJB_BEGIN_OBJECT, WJB_KEY};
        loop {
            match self.next_token() {
                (WJB_BEGIN_OBJECT, _) => {}
                (WJB_KEY, key) => {
                    let (_, value) = self.next_token();
                    if let (Some(key), Some(value)) = (text(&key), text(&value)) {
                        return Some((key, value));
                    }
                }
                // The end, or not an object.
                _ => return None,
            }
        }
    }
}

/// `PGSQL_AF_INET` in PostgreSQL's `utils/inet.h`.
const FAMILY_IPV4: u8 = 2;
/// `PGSQL_AF_INET6`.
const FAMILY_IPV6: u8 = 3;

impl FromDatum for Network {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        _: pg_sys::Oid,
    ) -> Option<Self> {
        if is_null {
            return None;
        }
        // SAFETY: the datum is an inet: a varlena whose content is family, mask length, address in
        // network order (`inet_struct` in PostgreSQL's `utils/inet.h`).
        let bytes = unsafe {
            let packed = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
            varlena::varlena_to_byte_slice(packed)
        };
        let (bits, address) = (*bytes.get(1)?, bytes.get(2..)?);
        let address = match address.len() {
            4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?)),
            16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?)),
            _ => return None,
        };
        Some(Self { address, bits })
    }
}

impl FromDatum for Address {
    unsafe fn from_polymorphic_datum(
        datum: pg_sys::Datum,
        is_null: bool,
        oid: pg_sys::Oid,
    ) -> Option<Self> {
        // SAFETY: passed on from the caller.
        let network = unsafe { Network::from_polymorphic_datum(datum, is_null, oid)? };
        Some(Self(network.address))
    }
}

impl IntoDatum for Network {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let mut bytes = match self.address {
            IpAddr::V4(_) => vec![FAMILY_IPV4, self.bits],
            IpAddr::V6(_) => vec![FAMILY_IPV6, self.bits],
        };
        match self.address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
        // An inet and a bytea of the same content have the same bytes: both are plain varlenas.
        bytes.into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::INETOID
    }
}

impl IntoDatum for Address {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        let bits = if self.0.is_ipv4() { 32 } else { 128 };
        Network {
            address: self.0,
            bits,
        }
        .into_datum()
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::INETOID
    }
}

macro_rules! raw_datum {
    ($type:ty) => {
        impl FromDatum for $type {
            unsafe fn from_polymorphic_datum(
                datum: pg_sys::Datum,
                is_null: bool,
                _: pg_sys::Oid,
            ) -> Option<Self> {
                (!is_null).then_some(Self(datum))
            }
        }

        // SAFETY: the datum is a whole value of its type in memory that outlives the call.
        unsafe impl BoxRet for $type {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
                // SAFETY: see above.
                unsafe { fcinfo.return_raw_datum(self.0) }
            }
        }
    };
}

raw_datum!(RawJsonb);
raw_datum!(RawText);

impl IntoDatum for RawJsonb {
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self.0)
    }

    fn type_oid() -> pg_sys::Oid {
        pg_sys::JSONBOID
    }
}

macro_rules! argument {
    ($type:ty, $sql:literal) => {
        // SAFETY: the conversion is that of FromDatum, which is written for this SQL type.
        unsafe impl<'fcx> ArgAbi<'fcx> for $type {
            unsafe fn unbox_arg_unchecked(arg: Arg<'_, 'fcx>) -> Self {
                // SAFETY: passed on from the caller.
                unsafe {
                    arg.unbox_arg_using_from_datum()
                        .expect("argument must not be null")
                }
            }

            unsafe fn unbox_nullable_arg(arg: Arg<'_, 'fcx>) -> Nullable<Self> {
                // SAFETY: passed on from the caller.
                unsafe { arg.unbox_arg_using_from_datum().into() }
            }
        }

        // SAFETY: names the SQL type that FromDatum reads.
        unsafe impl SqlTranslatable for $type {
            const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!($type);
            const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
            const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
                Ok(SqlMappingRef::literal($sql));
            const RETURN_SQL: Result<ReturnsRef, ReturnsError> =
                Ok(ReturnsRef::One(SqlMappingRef::literal($sql)));
        }
    };
}

argument!(Address, "inet");
argument!(Network, "inet");
argument!(RawJsonb, "jsonb");
argument!(RawText, "text");

// SAFETY: names the SQL type of the datum.
unsafe impl SqlTranslatable for SessionRow {
    const TYPE_IDENT: &'static str = pgrx::pgrx_resolved_type!(SessionRow);
    const TYPE_ORIGIN: TypeOrigin = TypeOrigin::External;
    const ARGUMENT_SQL: Result<SqlMappingRef, ArgumentError> =
        Ok(SqlMappingRef::literal("qsessions.session_data"));
    const RETURN_SQL: Result<ReturnsRef, ReturnsError> = Ok(ReturnsRef::One(
        SqlMappingRef::literal("qsessions.session_data"),
    ));
}

// SAFETY: the datum is a whole row in memory that outlives the call.
unsafe impl BoxRet for SessionRow {
    unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
        // SAFETY: see above.
        unsafe { fcinfo.return_raw_datum(self.0) }
    }
}

macro_rules! inet_result {
    ($type:ty) => {
        // SAFETY: the datum is a whole inet in the current memory context.
        unsafe impl BoxRet for $type {
            unsafe fn box_into<'fcx>(self, fcinfo: &mut FcInfo<'fcx>) -> Datum<'fcx> {
                let datum = self.into_datum().expect("an address is not null");
                // SAFETY: see above.
                unsafe { fcinfo.return_raw_datum(datum) }
            }
        }
    };
}

inet_result!(Address);
inet_result!(Network);
