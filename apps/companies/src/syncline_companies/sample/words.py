"""Words that names are made of. Order matters: changing a list changes every register made from a seed."""

from __future__ import annotations

from typing import Final


def listed(text: str, separator: str = " ") -> tuple[str, ...]:
    return tuple(text.split(separator))


PLACES: Final = listed(
    "Abbey Alder Amber Anchor Arden Ashford Aspen Avon Barley Beacon Beech Birch Blackwater Bluebell Bramble Bridge Bristol "
    "Cairn Calder Cambrian Castle Cedar Chalk Cherwell Clover Copper Coral Cotswold Crown Dale Dartmoor Derwent Eden Elm "
    "Ember Falcon Fern Forge Foxglove Gable Garnet Glen Granite Grove Harbour Hazel Heath Heron Highland Holly Humber Iron "
    "Ivy Juniper Kestrel Kingfisher Lantern Larch Lavender Linden Lowland Maple Marlow Meadow Mersey Mill Moor Moss Northgate "
    "Oak Orchard Otter Pebble Pennine Pine Quarry Raven Redwood Ridge Rowan Sable Saffron Severn Silver Skylark Slate Solent "
    "Spruce Sterling Stone Swift Tamar Teal Thames Thistle Thorn Trent Tweed Valley Vale Wharf Willow Windmill Wren Wye Yarrow "
    "Café Ångström Écluse Ærø Llanfair-yn-Neubwll Łódź Zürich Šárka Niño Østerbro Ağrı Malmö İzmir Αθήνα Київ 東京"
)
TRADES: Final = listed(
    "Acoustic Advisory Agri Analytics Aquatic Architectural Automotive Aviation Bakery Biomedical Brewing Building Business "
    "Capital Catering Ceramics Chemical Civil Cloud Coastal Coffee Commercial Computing Construction Creative Dairy Data "
    "Dental Design Digital Distribution Drainage Ecology Education Electrical Electronics Energy Engineering Equine Estates "
    "Events Fabrication Facilities Fashion Financial Fishing Fitness Floral Food Forestry Freight Furniture Games Garden "
    "Glass Global Health Heating Heritage Home Hospitality Housing Imaging Industrial Insurance Interiors Joinery Kitchens "
    "Laboratory Landscape Lighting Logistics Marine Marketing Media Medical Metals Mobility Motor Music Networks Nursery "
    "Optical Packaging Paper Pharma Photonics Plastics Plumbing Precision Print Property Publishing Rail Recruitment "
    "Renewable Retail Robotics Roofing Safety Security Software Solar Sports Steel Studio Telecom Textile Timber Trading "
    "Training Transport Travel Vision Water Wellness"
)
HOUSES: Final = listed(
    "Associates Brothers Centre Collective Company Consultants Consulting Contractors Dynamics Enterprises Exchange Factory "
    "Foundry Group Guild Holdings House Innovations International Investments Lab Labs Management Manufacturing Merchants "
    "Network Partners Partnership People Practice Products Projects Resources Services Society Solutions Specialists Stores "
    "Supplies Systems Team Technologies Technology Union Ventures Warehouse Works Workshop Worldwide"
)
FORMS: Final = (("Ltd", "co.uk"), ("Limited", "com"), ("LLP", "uk"), ("PLC", "net"), ("CIC", "org.uk"))

FIRST_NAMES: Final = {
    "F": listed(
        "Aisha Alice Amelia Amy Anna Beatrice Charlotte Chloe Daisy Eleanor Elizabeth Emily Emma Eva Fatima Florence Freya "
        "Grace Hannah Holly Ingrid Isabella Jane Jessica Kate Laura Leila Lily Lucy Maria Mary Maya Megan Mia Nadia Olivia "
        "Phoebe Priya Rachel Rosie Ruth Sarah Sofia Sophie Victoria Wei Zara Zoë Chloé Siân Agnieszka Małgorzata"
    ),
    "M": listed(
        "Adam Ahmed Alan Alexander Andrew Arjun Arthur Benjamin Charles Daniel David Dylan Edward Ethan Felix Finn Gareth "
        "George Hamish Harry Henry Hugh Ibrahim Isaac Jack Jacob James John Joseph Kai Leo Liam Lewis Louis Mohammed Nathan "
        "Noah Oliver Omar Oscar Owen Paul Peter Ravi Robert Samuel Theodore Thomas William Zachary José Jürgen Łukasz Søren"
    ),
    "O": listed("Alex Ash Charlie Drew Ellis Jamie Jordan Kit Morgan Quinn Riley Robin Rowan Sam Sasha Taylor"),
}
LAST_NAMES: Final = listed(
    "Adams Ahmed Ali Allen Anderson Bailey Baker Barnes Begum Bell Bennett Brown Butler Campbell Carter Chapman Clark Clarke "
    "Collins Cook Cooper Cox Davies Davis Dixon Edwards Ellis Evans Fisher Foster Fox Gibson Graham Gray Green Griffiths Hall "
    "Hamilton Harris Harrison Harvey Hill Holmes Hughes Hunt Hussain Jackson James Jenkins Johnson Jones Kaur Kelly Khan King "
    "Knight Lee Lewis Lloyd Marshall Martin Mason Matthews Miller Mills Mitchell Moore Morgan Morris Murphy Murray Owen Palmer "
    "Parker Patel Phillips Powell Price Reid Reynolds Richards Richardson Roberts Robertson Robinson Rogers Russell Scott Shah "
    "Shaw Simpson Singh Smith Stevens Stewart Taylor Thomas Thompson Turner Walker Walsh Ward Watson Webb White Wilkinson "
    "Williams Wilson Wood Wright Young García Müller Kowalczyk Şahin O'Connor Ó'Briain Dvořák Nguyễn Gwyn-Jones Bjørnsen"
)
JOBS: Final = listed(
    "Accountant|Accounts manager|Administrator|Analyst|Architect|Buyer|Chief executive|Chief financial officer|"
    "Chief operating officer|Chief technology officer|Company secretary|Customer support adviser|Data scientist|Designer|"
    "Director|Electrician|Engineer|Estimator|Financial manager|Founder|Head of marketing|Head of people|Head of sales|"
    "IT manager|Lawyer|Logistics planner|Managing director|Marketing executive|Office manager|Operations manager|"
    "Product manager|Project manager|Quality inspector|Receptionist|Sales executive|Site manager|Software developer|"
    "Surveyor|Technician|Warehouse manager",
    "|",
)
#: ISO code, name, how many of 1,000 companies are there, and how their deals compare with British ones.
COUNTRIES: Final = (
    ("GB", "United Kingdom", 850, 1.0), ("IE", "Ireland", 30, 1.2), ("US", "United States", 25, 2.1),
    ("DE", "Germany", 18, 1.3), ("FR", "France", 16, 1.1), ("NL", "Netherlands", 12, 1.4), ("PL", "Poland", 10, 0.6),
    ("IN", "India", 9, 0.8), ("ES", "Spain", 7, 0.7), ("SE", "Sweden", 6, 1.7), ("CY", "Cyprus", 5, 0.4),
    ("TR", "Türkiye", 5, 0.5), ("CI", "Côte d'Ivoire", 4, 0.3), ("JP", "Japan", 3, 0.9),
)  # fmt: skip
