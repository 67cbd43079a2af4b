//! Devices, and the makers of models.

use crate::Category::{self, Tablet, Tv};
use crate::table::{Rule, Table};

/// A device with a name of its own.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) vendor: &'static str,
}

const fn device(marker: &'static str, name: &'static str, vendor: &'static str) -> Rule<Device> {
    Rule {
        marker,
        value: Device { name, vendor },
    }
}

/// Devices by what gives them away.
pub(crate) static DEVICES: Table<Device, { RULES.len() }> = Table::new(RULES);

const RULES: &[Rule<Device>] = &[
    device("iPad", "iPad", "Apple"),
    device("iPod", "iPod", "Apple"),
    device("iPhone", "iPhone", "Apple"),
    device("AppleTV", "Apple TV", "Apple"),
    device("Apple TV", "Apple TV", "Apple"),
    device("PlayStation 5", "PlayStation 5", "Sony"),
    device("PlayStation 4", "PlayStation 4", "Sony"),
    device("PlayStation Vita", "PlayStation Vita", "Sony"),
    device("PLAYSTATION 3", "PlayStation 3", "Sony"),
    device("Xbox Series X", "Xbox Series X", "Microsoft"),
    device("Xbox One", "Xbox One", "Microsoft"),
    device("Xbox", "Xbox", "Microsoft"),
    device("Nintendo Switch", "Nintendo Switch", "Nintendo"),
    device("Nintendo WiiU", "Wii U", "Nintendo"),
    device("Nintendo Wii", "Wii", "Nintendo"),
    device("Nintendo 3DS", "Nintendo 3DS", "Nintendo"),
    device("Roku", "Roku", "Roku"),
    device("Web0S", "Smart TV", "LG"),
    device("webOS.TV", "Smart TV", "LG"),
    device("SMART-TV", "Smart TV", "Samsung"),
    device("Macintosh", "Mac", "Apple"),
];

/// What the beginning of an Android model's name tells: its maker, and the kind of device where
/// that is no phone.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) prefix: &'static str,
    pub(crate) vendor: &'static str,
    pub(crate) category: Option<Category>,
}

const fn model(prefix: &'static str, vendor: &'static str) -> Model {
    Model {
        prefix,
        vendor,
        category: None,
    }
}

const fn other_model(prefix: &'static str, vendor: &'static str, category: Category) -> Model {
    Model {
        prefix,
        vendor,
        category: Some(category),
    }
}

/// In order of priority.
pub(crate) const MODELS: &[Model] = &[
    other_model("SM-T", "Samsung", Tablet),
    other_model("SM-X", "Samsung", Tablet),
    other_model("SM-P", "Samsung", Tablet),
    model("SM-", "Samsung"),
    model("GT-", "Samsung"),
    model("SAMSUNG", "Samsung"),
    other_model("Pixel Tablet", "Google", Tablet),
    model("Pixel", "Google"),
    other_model("Nexus 7", "Google", Tablet),
    other_model("Nexus 9", "Google", Tablet),
    other_model("Nexus 10", "Google", Tablet),
    model("Nexus", "Google"),
    other_model("Chromecast", "Google", Tv),
    other_model("KF", "Amazon", Tablet),
    other_model("AFT", "Amazon", Tv),
    other_model("BRAVIA", "Sony", Tv),
    model("SO-", "Sony"),
    model("XQ-", "Sony"),
    model("Xperia", "Sony"),
    other_model("MiTV", "Xiaomi", Tv),
    other_model("MIBOX", "Xiaomi", Tv),
    model("Redmi", "Xiaomi"),
    model("POCO", "Xiaomi"),
    model("Mi ", "Xiaomi"),
    model("M2", "Xiaomi"),
    model("210", "Xiaomi"),
    model("211", "Xiaomi"),
    model("220", "Xiaomi"),
    model("221", "Xiaomi"),
    model("230", "Xiaomi"),
    model("231", "Xiaomi"),
    model("240", "Xiaomi"),
    model("241", "Xiaomi"),
    model("250", "Xiaomi"),
    model("251", "Xiaomi"),
    model("CPH", "OPPO"),
    model("OPPO", "OPPO"),
    model("RMX", "realme"),
    model("ONEPLUS", "OnePlus"),
    model("vivo", "vivo"),
    model("V2", "vivo"),
    model("V1", "vivo"),
    model("HUAWEI", "Huawei"),
    model("HONOR", "Honor"),
    model("moto", "Motorola"),
    model("XT", "Motorola"),
    model("Nokia", "Nokia"),
    model("TA-", "Nokia"),
    model("LM-", "LG"),
    model("LG-", "LG"),
    model("ASUS", "Asus"),
    model("HTC", "HTC"),
    other_model("Lenovo TB", "Lenovo", Tablet),
    model("Lenovo", "Lenovo"),
    model("Infinix", "Infinix"),
    model("TECNO", "Tecno"),
    other_model("SHIELD Android TV", "NVIDIA", Tv),
];
