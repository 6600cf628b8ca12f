"""People who do not exist."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


def check_digit(nine: str) -> int | None:
    """The tenth digit of an NHS number (modulus 11), or None when these nine digits cannot begin one."""
    remainder = 11 - sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True)) % 11
    return None if remainder == 10 else remainder % 11


def is_nhs_number(text: str) -> bool:
    """True for ten digits with the right check digit."""
    return len(text) == 10 and text.isdigit() and check_digit(text[:9]) == int(text[9])


def nhs_number(serial: int) -> str:
    """The first valid NHS number of the test range from ``serial`` on."""
    while (digit := check_digit(nine := f"999{serial:06d}")) is None:
        serial += 1
    return f"{nine}{digit}"


@dataclass(frozen=True)
class Patient:
    """One made-up patient. ``practice`` is the ODS code of the practice where they are registered."""

    nhs_number: str
    given: str
    family: str
    sex: str
    born: date
    street: str
    town: str
    postcode: str
    practice: str

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"

    @property
    def spaced(self) -> str:
        """The NHS number as people read it."""
        return f"{self.nhs_number[:3]} {self.nhs_number[3:6]} {self.nhs_number[6:]}"


_ROWS = (
    ("Doris", "Ambleforth", "female", "1938-03-14", "2 Chapel Brow", "Fellbeck", "ZZ99 3AB"),
    ("Gwilym", "Treharne", "male", "1951-11-02", "17 Quay Street", "Saltmouth", "ZZ99 5QT"),
    ("Aisha", "Rahimova", "female", "1989-06-21", "Flat 3, 40 Mill Lane", "Fellbeck", "ZZ99 3AD"),
    ("Stanley", "Oakhanger", "male", "1944-09-30", "The Cottage, Ghyll Road", "Fellbeck", "ZZ99 3AE"),
    ("Chidi", "Nwosu-Hale", "male", "1976-01-08", "8 Harbour View", "Saltmouth", "ZZ99 5QX"),
    ("Philippa", "Thistlewood", "female", "1962-12-19", "61 Station Road", "Saltmouth", "ZZ99 5QY"),
    ("Zofia", "Kaminska-Reed", "female", "1995-04-27", "23 Weavers Row", "Fellbeck", "ZZ99 3AF"),
    ("Reginald", "Pikestaffe", "male", "1933-07-05", "Larkfield Care Home", "Saltmouth", "ZZ99 5QZ"),
    ("Maryam", "Siddiq-Cole", "female", "2001-10-11", "5 Tannery Court", "Fellbeck", "ZZ99 3AG"),
    ("Owen", "Llewellyn-Byrne", "male", "1958-02-24", "112 Coast Road", "Saltmouth", "ZZ99 5RA"),
    ("Beatrice", "Underhay", "female", "1969-08-16", "9 Orchard Close", "Fellbeck", "ZZ99 3AH"),
    ("Tobias", "Finchcombe", "male", "2019-05-03", "30 Lighthouse Way", "Saltmouth", "ZZ99 5RB"),
)
FELLSIDE, HARBOUR = "Z99011", "Z99012"
PATIENTS = tuple(
    Patient(
        nhs_number(417 * (number + 3)),
        given,
        family,
        sex,
        date.fromisoformat(born),
        street,
        town,
        postcode,
        FELLSIDE if town == "Fellbeck" else HARBOUR,
    )
    for number, (given, family, sex, born, street, town, postcode) in enumerate(_ROWS)
)
