"""Countries as the numbering plans know them: assigned E.164 country codes, and the zone of a TADIG code's country.

The codes are the closed list of ITU-T E.164 assigned country codes (list of 2016 with its later bulletins): a number
that starts with any other code is not an E.164 number. A code that is reserved or was withdrawn is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ingest.words import by_word

COUNTRY_CODES: Final = frozenset(
    str(code)
    for code in (
        1, 7, 20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58,
        60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98, 211, 212, 213, 216, 218, 220, 221,
        222, 223, 224, 225, 226, 227, 228, 229, 230, 231, 232, 233, 234, 235, 236, 237, 238, 239, 240, 241, 242, 243,
        244, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255, 256, 257, 258, 260, 261, 262, 263, 264, 265, 266,
        267, 268, 269, 290, 291, 297, 298, 299, 350, 351, 352, 353, 354, 355, 356, 357, 358, 359, 370, 371, 372, 373,
        374, 375, 376, 377, 378, 379, 380, 381, 382, 383, 385, 386, 387, 389, 420, 421, 423, 500, 501, 502, 503, 504,
        505, 506, 507, 508, 509, 590, 591, 592, 593, 594, 595, 596, 597, 598, 599, 670, 672, 673, 674, 675, 676, 677,
        678, 679, 680, 681, 682, 683, 685, 686, 687, 688, 689, 690, 691, 692, 800, 808, 850, 852, 853, 855, 856, 870,
        878, 880, 881, 882, 883, 886, 888, 960, 961, 962, 963, 964, 965, 966, 967, 968, 970, 971, 972, 973, 974, 975,
        976, 977, 979, 992, 993, 994, 995, 996, 998,
    )
)  # fmt: skip
"""Assigned country codes, 800, 808, 870, 878, 881, 882, 883, 888 and 979 of no one country included."""


def _assigned_heads() -> npt.NDArray[np.bool_]:
    table = np.zeros(1000, dtype=np.bool_)
    for code in COUNTRY_CODES:
        width = 10 ** (3 - len(code))
        table[int(code) * width : (int(code) + 1) * width] = True
    return table


ASSIGNED_HEADS: Final = _assigned_heads()
"""For the first three digits of a number, as an index 0 to 999: whether they start with an assigned country code."""

_ZONES: Final[dict[str, str]] = {
    # Europe. Spain and Portugal are given the zone of their mainland: their islands lie one hour west of it.
    "ALB": "Europe/Tirane", "AND": "Europe/Andorra", "AUT": "Europe/Vienna", "BEL": "Europe/Brussels",
    "BGR": "Europe/Sofia", "BIH": "Europe/Sarajevo", "BLR": "Europe/Minsk", "CHE": "Europe/Zurich",
    "CYP": "Asia/Nicosia", "CZE": "Europe/Prague", "DEU": "Europe/Berlin", "DNK": "Europe/Copenhagen",
    "ESP": "Europe/Madrid", "EST": "Europe/Tallinn", "FIN": "Europe/Helsinki", "FRA": "Europe/Paris",
    "FRO": "Atlantic/Faroe", "GBR": "Europe/London", "GGY": "Europe/Guernsey", "GIB": "Europe/Gibraltar",
    "GRC": "Europe/Athens", "HRV": "Europe/Zagreb", "HUN": "Europe/Budapest", "IMN": "Europe/Isle_of_Man",
    "IRL": "Europe/Dublin", "ISL": "Atlantic/Reykjavik", "ITA": "Europe/Rome", "JEY": "Europe/Jersey",
    "LIE": "Europe/Vaduz", "LTU": "Europe/Vilnius", "LUX": "Europe/Luxembourg", "LVA": "Europe/Riga",
    "MCO": "Europe/Monaco", "MDA": "Europe/Chisinau", "MKD": "Europe/Skopje", "MLT": "Europe/Malta",
    "MNE": "Europe/Podgorica", "NLD": "Europe/Amsterdam", "NOR": "Europe/Oslo", "POL": "Europe/Warsaw",
    "PRT": "Europe/Lisbon", "ROU": "Europe/Bucharest", "SMR": "Europe/San_Marino", "SRB": "Europe/Belgrade",
    "SVK": "Europe/Bratislava", "SVN": "Europe/Ljubljana", "SWE": "Europe/Stockholm", "TUR": "Europe/Istanbul",
    "UKR": "Europe/Kyiv", "VAT": "Europe/Vatican",
    # Africa
    "AGO": "Africa/Luanda", "BDI": "Africa/Bujumbura", "BEN": "Africa/Porto-Novo", "BFA": "Africa/Ouagadougou",
    "BWA": "Africa/Gaborone", "CAF": "Africa/Bangui", "CIV": "Africa/Abidjan", "CMR": "Africa/Douala",
    "COG": "Africa/Brazzaville", "COM": "Indian/Comoro", "CPV": "Atlantic/Cape_Verde", "DJI": "Africa/Djibouti",
    "DZA": "Africa/Algiers", "EGY": "Africa/Cairo", "ERI": "Africa/Asmara", "ETH": "Africa/Addis_Ababa",
    "GAB": "Africa/Libreville", "GHA": "Africa/Accra", "GIN": "Africa/Conakry", "GMB": "Africa/Banjul",
    "GNB": "Africa/Bissau", "GNQ": "Africa/Malabo", "KEN": "Africa/Nairobi", "LBR": "Africa/Monrovia",
    "LBY": "Africa/Tripoli", "LSO": "Africa/Maseru", "MAR": "Africa/Casablanca", "MDG": "Indian/Antananarivo",
    "MLI": "Africa/Bamako", "MOZ": "Africa/Maputo", "MRT": "Africa/Nouakchott", "MUS": "Indian/Mauritius",
    "MWI": "Africa/Blantyre", "NAM": "Africa/Windhoek", "NER": "Africa/Niamey", "NGA": "Africa/Lagos",
    "REU": "Indian/Reunion", "RWA": "Africa/Kigali", "SDN": "Africa/Khartoum", "SEN": "Africa/Dakar",
    "SLE": "Africa/Freetown", "SOM": "Africa/Mogadishu", "SSD": "Africa/Juba", "STP": "Africa/Sao_Tome",
    "SWZ": "Africa/Mbabane", "SYC": "Indian/Mahe", "TCD": "Africa/Ndjamena", "TGO": "Africa/Lome",
    "TUN": "Africa/Tunis", "TZA": "Africa/Dar_es_Salaam", "UGA": "Africa/Kampala", "ZAF": "Africa/Johannesburg",
    "ZMB": "Africa/Lusaka", "ZWE": "Africa/Harare",
    # America
    "ABW": "America/Aruba", "ARG": "America/Argentina/Buenos_Aires", "BHS": "America/Nassau", "BLZ": "America/Belize",
    "BMU": "Atlantic/Bermuda", "BOL": "America/La_Paz", "BRB": "America/Barbados", "COL": "America/Bogota",
    "CRI": "America/Costa_Rica", "CUB": "America/Havana", "CUW": "America/Curacao", "CYM": "America/Cayman",
    "DOM": "America/Santo_Domingo", "GLP": "America/Guadeloupe", "GTM": "America/Guatemala", "GUF": "America/Cayenne",
    "GUY": "America/Guyana", "HND": "America/Tegucigalpa", "HTI": "America/Port-au-Prince", "JAM": "America/Jamaica",
    "MTQ": "America/Martinique", "NIC": "America/Managua", "PAN": "America/Panama", "PER": "America/Lima",
    "PRI": "America/Puerto_Rico", "PRY": "America/Asuncion", "SLV": "America/El_Salvador", "SUR": "America/Paramaribo",
    "TTO": "America/Port_of_Spain", "URY": "America/Montevideo", "VEN": "America/Caracas",
    # Asia and Oceania
    "AFG": "Asia/Kabul", "ARE": "Asia/Dubai", "ARM": "Asia/Yerevan", "AZE": "Asia/Baku", "BGD": "Asia/Dhaka",
    "BHR": "Asia/Bahrain", "BRN": "Asia/Brunei", "BTN": "Asia/Thimphu", "CHN": "Asia/Shanghai", "FJI": "Pacific/Fiji",
    "GEO": "Asia/Tbilisi", "HKG": "Asia/Hong_Kong", "IND": "Asia/Kolkata", "IRN": "Asia/Tehran", "IRQ": "Asia/Baghdad",
    "ISR": "Asia/Jerusalem", "JOR": "Asia/Amman", "JPN": "Asia/Tokyo", "KGZ": "Asia/Bishkek", "KHM": "Asia/Phnom_Penh",
    "KOR": "Asia/Seoul", "KWT": "Asia/Kuwait", "LAO": "Asia/Vientiane", "LBN": "Asia/Beirut", "LKA": "Asia/Colombo",
    "MAC": "Asia/Macau", "MDV": "Indian/Maldives", "MMR": "Asia/Yangon", "MYS": "Asia/Kuala_Lumpur",
    "NPL": "Asia/Kathmandu", "OMN": "Asia/Muscat", "PAK": "Asia/Karachi", "PHL": "Asia/Manila", "QAT": "Asia/Qatar",
    "SAU": "Asia/Riyadh", "SGP": "Asia/Singapore", "SYR": "Asia/Damascus", "THA": "Asia/Bangkok",
    "TJK": "Asia/Dushanbe", "TKM": "Asia/Ashgabat", "TLS": "Asia/Dili", "TWN": "Asia/Taipei",
    "UZB": "Asia/Tashkent", "VNM": "Asia/Ho_Chi_Minh", "WSM": "Pacific/Apia", "YEM": "Asia/Aden",
    # Islands and small territories
    "AIA": "America/Anguilla", "ALA": "Europe/Mariehamn", "ASM": "Pacific/Pago_Pago", "ATF": "Indian/Kerguelen",
    "ATG": "America/Antigua", "BES": "America/Kralendijk", "BLM": "America/St_Barthelemy", "CCK": "Indian/Cocos",
    "COK": "Pacific/Rarotonga", "CXR": "Indian/Christmas", "DMA": "America/Dominica", "ESH": "Africa/El_Aaiun",
    "FLK": "Atlantic/Stanley", "GRD": "America/Grenada", "GUM": "Pacific/Guam", "IOT": "Indian/Chagos",
    "KAZ": "Asia/Almaty", "KNA": "America/St_Kitts", "LCA": "America/St_Lucia", "MAF": "America/Marigot",
    "MHL": "Pacific/Majuro", "MNP": "Pacific/Saipan", "MSR": "America/Montserrat", "MYT": "Indian/Mayotte",
    "NCL": "Pacific/Noumea", "NFK": "Pacific/Norfolk", "NIU": "Pacific/Niue", "NRU": "Pacific/Nauru",
    "PCN": "Pacific/Pitcairn", "PLW": "Pacific/Palau", "PRK": "Asia/Pyongyang", "PSE": "Asia/Gaza",
    "SGS": "Atlantic/South_Georgia", "SHN": "Atlantic/St_Helena", "SJM": "Arctic/Longyearbyen",
    "SLB": "Pacific/Guadalcanal", "SPM": "America/Miquelon", "SXM": "America/Lower_Princes",
    "TCA": "America/Grand_Turk", "TKL": "Pacific/Fakaofo", "TON": "Pacific/Tongatapu", "TUV": "Pacific/Funafuti",
    "VCT": "America/St_Vincent", "VGB": "America/Tortola", "VIR": "America/St_Thomas", "VUT": "Pacific/Efate",
    "WLF": "Pacific/Wallis",
}  # fmt: skip

_EASTMOST: Final[dict[str, str]] = {
    "ATA": "Antarctica/McMurdo", "AUS": "Australia/Lord_Howe", "BRA": "America/Noronha", "CAN": "America/St_Johns",
    "CHL": "America/Punta_Arenas", "COD": "Africa/Lubumbashi", "ECU": "America/Guayaquil", "FSM": "Pacific/Pohnpei",
    "GRL": "America/Danmarkshavn", "IDN": "Asia/Jayapura", "KIR": "Pacific/Kiritimati", "MEX": "America/Cancun",
    "MNG": "Asia/Ulaanbaatar", "NZL": "Pacific/Chatham", "PNG": "Pacific/Bougainville", "PYF": "Pacific/Gambier",
    "RUS": "Asia/Kamchatka", "UMI": "Pacific/Wake", "USA": "America/New_York", "ZAR": "Africa/Lubumbashi",
}  # fmt: skip
"""The zone of each country of several in which a local time is the earliest instant."""


def country_zone(tadig: pl.Expr) -> pl.Expr:
    """The IANA zone of the country that a TADIG code (`NLDPT`) starts with; null where the country has several.

    A zone found so is derived, not told: whoever uses it marks the record `derived`. Countries of several zones (the
    United States, Russia, Australia, Indonesia, …) and codes of ships and aircraft give null.
    """
    return _of_country(tadig, _ZONES)


def has_one_zone(tadig: pl.Expr) -> pl.Expr:
    """Whether `country_zone` gives a zone; false for no code."""
    return country_zone(tadig).is_not_null()


def eastmost(tadig: pl.Expr) -> pl.Expr:
    """The eastmost zone of a country of several; null for any other code."""
    return _of_country(tadig, _EASTMOST)


def _of_country(tadig: pl.Expr, zones: Mapping[str, str]) -> pl.Expr:
    def zone(code: pl.Expr) -> pl.Expr:
        country = code.str.strip_chars().str.slice(0, 3).str.to_uppercase()
        return country.replace_strict(zones, default=None, return_dtype=pl.String)

    return by_word(tadig, zone, pl.String())
