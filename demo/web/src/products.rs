//! What the shop sells.

pub(crate) struct Product {
    /// What the product is called in forms, and in the session.
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) price: u32,
}

pub(crate) const PRODUCTS: [Product; 4] = [
    product("lamp", "Reading lamp", 48),
    product("notebook", "Notebook", 9),
    product("pen", "Fountain pen", 35),
    product("tea", "Tea, 250 g", 12),
];

const fn product(id: &'static str, name: &'static str, price: u32) -> Product {
    Product { id, name, price }
}
