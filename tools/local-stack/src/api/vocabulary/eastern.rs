//! Nations of eastern Europe and western Asia.

use super::{Nation, Postcode};

pub(super) static IR: Nation = Nation {
    code: "IR",
    country: "Iran",
    women: &["نازنین", "مهسا", "گل\u{200c}رخ", "پریسا", "ستایش", "یاسمین", "مه\u{200c}لقا", "الهه"],
    men: &["کیان", "امیرعلی", "پارسا", "نیک\u{200c}زاد", "آرش", "مهدی", "ژوبین", "رضا"],
    last_names: &[
        "محمدی",
        "نیک\u{200c}پور",
        "حسینی",
        "علی\u{200c}زاده",
        "کریمی",
        "شیخ\u{200c}الاسلامی",
        "گنجی",
    ],
    streets: &["خیابان ولیعصر", "بلوار کشاورز", "میدان نقش\u{200c}جهان", "کوچه\u{200c}ی بهار"],
    cities: &["شیراز", "خرم\u{200c}آباد", "تبریز", "قم", "رشت", "اهواز"],
    states: &["فارس", "آذربایجان شرقی", "گیلان", "چهارمحال و بختیاری", "یزد"],
    postcode: Postcode::Integer { min: 10_000, max: 99_999 },
    phone: "0##-########",
    cell: "09##-###-####",
    id: None,
};

pub(super) static RS: Nation = Nation {
    code: "RS",
    country: "Serbia",
    women: &["Đurđica", "Ljiljana", "Šejla", "Milica", "Anđelka", "Žaklina", "Jelena", "Višnja"],
    men: &["Đorđe", "Miloš", "Čedomir", "Nemanja", "Živko", "Stevan", "Ognjen", "Aleksa"],
    last_names: &["Đoković", "Petrović", "Šćepanović", "Živković", "Ćirić", "Njegoš", "Lukić"],
    streets: &["Knez Mihailova", "Cara Dušana ", "Vojvode Mišića", "Bulevar kralja Aleksandra"],
    cities: &["Niš", "Čačak", "Novi Sad", "Užice", "Šabac", "Bačka Palanka"],
    states: &["Šumadija", "Bor", "Mačva", "Pčinja", "South Banat"],
    postcode: Postcode::Integer { min: 11_000, max: 38_999 },
    phone: "0##-####-###",
    cell: "06#-####-###",
    id: Some(("SID", "#########")),
};

pub(super) static TR: Nation = Nation {
    code: "TR",
    country: "Turkey",
    women: &["Şule", "Gülşen", "İrem", "Çiğdem", "Ayşegül", "Özge", "Nazlı", "Ilgın"],
    men: &["Çağlar", "İsmail", "Oğuzhan", "Barış", "Ümit", "Yiğit", "Işık", "Görkem"],
    last_names: &["Yıldırım", "Çelik", "Şahin", "Güneş", "Öztürk", "Kılıç", "Doğan", "Ağaoğlu"],
    streets: &["İstiklal Cd", "Bağdat Caddesi", "Atatürk Bulvarı", "Şehitler Sk", "Çınar Sk"],
    cities: &["İzmir", "Şanlıurfa", "Eskişehir", "Muğla", "Iğdır", "Çanakkale"],
    states: &["Ağrı", "Gümüşhane", "Kırklareli", "Uşak", "Siirt"],
    postcode: Postcode::Integer { min: 1000, max: 81_999 },
    phone: "(###)-###-####",
    cell: "(5##)-###-####",
    id: None,
};

pub(super) static UA: Nation = Nation {
    code: "UA",
    country: "Ukraine",
    women: &["Соломія", "Олеся", "Ярина", "Мар'яна", "Зоряна", "Їванна", "Катерина", "Дзвінка"],
    men: &["Тарас", "Ґео", "Володимир", "Лук'ян", "Остап", "Євген", "Юрій", "Щек"],
    last_names: &["Шевченко", "Коцюбинський", "Їжакевич", "Григор'єв", "Ґудзь", "Лисенко", "Бойко"],
    streets: &["вулиця Хрещатик", "проспект Перемоги", "площа \"Ринок\"", "Гончарний узвіз"],
    cities: &["Київ", "Кам'янець-Подільський", "Одеса", "Львів", "Ужгород", "Чернігів"],
    states: &["Львівська", "Закарпатська", "Сумська", "Київська", "Вінницька"],
    postcode: Postcode::Integer { min: 10_000, max: 99_999 },
    phone: "(0##) @##-####",
    cell: "(09#) @##-####",
    id: None,
};
