//! Nations whose users write English (India's in Latin letters, as the API has them).

use super::{Nation, Postcode};

pub(super) static AU: Nation = Nation {
    code: "AU",
    country: "Australia",
    women: &["Matilda", "Isla", "Tahlia", "Bronte", "Kirra", "Zoe", "Imogen", "Sienna"],
    men: &["Lachlan", "Angus", "Cooper", "Darcy", "Hamish", "Noah", "Banjo", "Riley"],
    last_names: &["Walker", "O'Keefe", "Murdoch", "Tran", "Whitlam", "Harris", "Gillard", "Bell"],
    streets: &[
        "Wattle Grove",
        "Banksia Avenue",
        "St. Kilda Road",
        "Billabong Way",
        "The Esplanade",
    ],
    cities: &["Geelong", "Wagga Wagga", "Fremantle", "Toowoomba", "Launceston", "Darwin"],
    states: &["Victoria", "Queensland", "Tasmania", "New South Wales", "Northern Territory"],
    postcode: Postcode::Integer { min: 200, max: 9944 },
    phone: "0#-####-####",
    cell: "04##-###-###",
    id: Some(("TFN", "#########")),
};

pub(super) static CA: Nation = Nation {
    code: "CA",
    country: "Canada",
    women: &["Maéva", "Charlotte", "Noémie", "Abigail", "Emma", "Florence", "Avery", "Jade"],
    men: &["Étienne", "Logan", "Xavier", "Liam", "Thomas", "Olivier", "Nathan", "Mathis"],
    last_names: &["Tremblay", "MacDonald", "Gagné", "Singh", "Roy", "D'Aoust", "Wong", "Côté"],
    streets: &[
        "Rue Saint-Denis",
        "King St",
        "Lake of the Woods Rd",
        "Rue de l'Église",
        "Dufferin St",
    ],
    cities: &["Trois-Rivières", "Moose Jaw", "Kelowna", "St. John's", "Sudbury", "Yellowknife"],
    states: &["Québec", "Saskatchewan", "Nova Scotia", "Ontario", "British Columbia", "Yukon"],
    postcode: Postcode::Text(&["@#@ #@#"]),
    phone: "@## @##-####",
    cell: "###-###-####",
    id: Some(("SIN", "#########")),
};

pub(super) static GB: Nation = Nation {
    code: "GB",
    country: "United Kingdom",
    women: &["Siân", "Poppy", "Niamh", "Ffion", "Harriet", "Amelia", "Elspeth", "Beatrice"],
    men: &["Rhys", "Callum", "Alfie", "Oscar", "Finlay", "Gethin", "Harold", "Rupert"],
    last_names: &["Fitzgerald", "O'Connell", "Ap Rhys", "Hughes", "Sinclair", "Ashworth", "Khan"],
    streets: &["Mill Lane", "St. Mary's Close", "The Crescent", "King's Road", "High  Street"],
    cities: &["Bishop's Stortford", "Llanelli", "Inverness", "York", "Truro", "Derry"],
    states: &["Cornwall", "Highland", "Gwynedd", "Merseyside", "County Antrim", "Rutland"],
    postcode: Postcode::Text(&["@#@ #@@", "@## #@@", "@@# #@@", "@@## #@@"]),
    phone: "01### #####",
    cell: "07### ######",
    id: Some(("NINO", "@@ ## ## ## @")),
};

pub(super) static IE: Nation = Nation {
    code: "IE",
    country: "Ireland",
    women: &["Aoife", "Saoirse", "Caoimhe", "Sinéad", "Róisín", "Ciara", "Orla", "Gráinne"],
    men: &["Cillian", "Oisín", "Pádraig", "Darragh", "Fionn", "Seán", "Tadhg", "Ronan"],
    last_names: &["O'Sullivan", "Ní Bhriain", "Byrne", "O'Neill", "McCarthy", "Walsh", "Ó Sé"],
    streets: &["O'Connell Street", "Shop Street", "The Quay", "Main Street", "Patrick's Hill"],
    cities: &["Dún Laoghaire", "Sligo", "Ballina", "Ennis", "Tralee", "Athlone"],
    states: &["Kerry", "Mayo", "Clare", "Donegal", "Westmeath", "Cork City"],
    postcode: Postcode::Integer { min: 10_001, max: 99_999 },
    phone: "0#1-###-####",
    cell: "08#-###-####",
    id: Some(("PPS", "#######T")),
};

pub(super) static IN: Nation = Nation {
    code: "IN",
    country: "India",
    women: &["Ananya", "Kavya", "Meera", "Lakshmi", "Ishita", "Divya", "Zara", "Padmini"],
    men: &["Arjun", "Rohan", "Vihaan", "Siddharth", "Kabir", "Dev", "Imran", "Tejas"],
    last_names: &["Iyer", "D'Souza", "Chatterjee", "Patel", "Kaur", "Reddy", "Nair", "Bhatt"],
    streets: &["Marine Drive", "M G Road", "Chandni Chowk", "Linking Road", "Residency Rd "],
    cities: &["Thiruvananthapuram", "Kochi", "Guwahati", "Indore", "Nashik", "Jaipur"],
    states: &["Kerala", "Assam", "Punjab", "Tamil Nadu", "Jammu and Kashmir", "Goa"],
    postcode: Postcode::Integer { min: 10_001, max: 99_999 },
    phone: "#########0",
    cell: "9#########",
    id: Some(("UIDAI", "############")),
};

pub(super) static NZ: Nation = Nation {
    code: "NZ",
    country: "New Zealand",
    women: &["Aroha", "Maia", "Ngaio", "Ruby", "Anahera", "Georgia", "Tui", "Holly"],
    men: &["Tāne", "Nikau", "Jack", "Wiremu", "Hēmi", "Caleb", "Manaia", "Flynn"],
    last_names: &["Te Aho", "Ngata", "Edwards", "Kereama", "Clarke", "Tūhoe", "Morrison"],
    streets: &["Karangahape Road", "Tory Street", "Te Rapa Road", "Courtenay Place", "Queen St"],
    cities: &["Whangārei", "Taupō", "Nelson", "Invercargill", "Ōamaru", "Napier"],
    states: &["Waikato", "Otago", "Northland", "Hawke's Bay", "Manawatū-Whanganui"],
    postcode: Postcode::Integer { min: 110, max: 9893 },
    phone: "(0##)-###-####",
    cell: "(02#)-###-####",
    id: None,
};

pub(super) static US: Nation = Nation {
    code: "US",
    country: "United States",
    women: &["Brooklyn", "Savannah", "Mía", "Harper", "Jo Ann", "Dakota", "Latoya", "Grace"],
    men: &["Wyatt", "Jamal", "Mason", "José", "D'Angelo", "Elijah", "Tyler", "Hank"],
    last_names: &["Washington", "O'Brien", "García", "Van Buren", "Nguyen", "Miller", "St. Clair"],
    streets: &["Elm St", "Martin Luther King Blvd", "County Road  12", "Ranch Dr", "5th Ave"],
    cities: &["Boise", "Coeur d'Alene", "Winston-Salem", "Truth or Consequences", "Fargo"],
    states: &["Idaho", "New Mexico", "North Dakota", "Hawai'i", "Vermont", "Texas"],
    postcode: Postcode::Integer { min: 501, max: 99_950 },
    phone: "(###) ###-####",
    cell: "(###) ###-####",
    id: Some(("SSN", "###-##-####")),
};
