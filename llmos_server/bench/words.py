"""Random prompts of ordinary English words: about a token each, as in what people write."""

from __future__ import annotations

import random

_TEXT = """
able about above across act add afraid after again age agree air all almost alone along already also always among
amount and angry animal another answer any apple arm around arrive art ask at autumn away baby back bad bag ball bank
base bath be beach bear beautiful because bed before begin behind believe bell below best better between big bird birth
bit black block blood blow blue board boat body bone book born both bottom box boy branch bread break breakfast bridge
bright bring broken brother brown brush build burn bus business busy but buy by cake call camp can car card care carry
case cat catch cause center certain chair chance change cheap check cheese chicken child choose church circle city class
clean clear clever climb clock close cloth cloud coat coffee cold collect color come common company compare complete
computer contain continue control cook cool copper copy corn corner correct cost cotton could count country course cover
cross cry cup cut damage dance danger dark daughter day dead deal dear decide deep deer desk die different difficult
dinner direct dirty discover dish do doctor dog door double down draw dream dress drink drive drop dry duck during dust
each ear early earth east easy eat edge effect egg eight either electric else empty end enemy engine enjoy enough enter
equal even evening event ever every exact example except expect explain eye face fact fall false family famous far farm
fast father fear feed feel few field fight fill film find fine finger finish fire first fish fit five flag flat floor
flower fly fold follow food foot for forest forget form forward four free fresh friend from front fruit full fun future
game garden gate gather general gentle get gift girl give glad glass go goat gold good grain grass gray great green
ground group grow guess guide hair half hall hammer hand happen happy hard hat have he head hear heart heat heavy help
her here high hill him history hit hold hole home honest hope horse hospital hot hour house how huge human hungry hurry
hurt husband ice idea if important in inside into iron island it job join journey judge jump just keep key kind king
kitchen knee knife know lady lake lamp land language large last late laugh law lead leaf learn leave left leg lesson let
letter level life light like line lion list listen little live long look lose lot love low lunch machine main make man
many map mark market match matter may meal mean measure meat meet member memory metal middle might mile milk mind minute
miss mistake mix model moment money month moon more morning most mother mountain mouse mouth move much music must name
narrow nation nature near neck need neighbor never new news next nice night nine no noise north nose not note nothing
notice now number object ocean of off offer office often oil old on once one only open orange order other our out over
own page pain paint pair paper parent park part party pass past path pay peace pen people perhaps person picture piece
pig place plain plan plant plate play please point poor possible pot power practice present price print problem produce
promise proud pull push put question quick quiet quite race radio rain raise reach read ready real reason receive record
red remember rest rice rich ride right ring rise river road rock roll roof room root rope round rule run sad safe sail
salt same sand save say school science sea season seat second secret see seed sell send sense serve set seven several
shade shape share sharp she sheep ship shirt shoe shop short should shoulder shout show sick side sign silver simple
since sing sister sit six size skin sky sleep slow small smell smile smoke snow so soft soil some son song soon sound
soup south space speak special spell spend spoon spring square stand star start state station stay step still stone stop
store storm story strange street strong student study such sugar summer sun sure surprise sweet swim table take talk
tall taste teach team tell ten test than that the their then there they thick thin thing think this three through time
tired to together tomorrow too tool top touch toward town trade train travel tree trip trouble true trust try turn two
under understand until up use usual valley very village visit voice wait walk wall want warm wash watch water wave way
we wear weather week weight well west what wheel when where which while white who whole why wide wife wild will win wind
window wine winter wire wise wish with woman wonder wood word work world worry write wrong year yellow yes yesterday yet
you young your zero
"""
WORDS = tuple(_TEXT.split())


def random_words(seed: str, count: int) -> list[str]:
    """The same for the same seed on every machine."""
    return random.Random(seed).choices(WORDS, k=count)
