"""What the expectations cite, in full. Which figure rests on which, its scenario says."""

SOURCES = {
    "Armitage 1969": "Armitage, McPherson & Rowe, J R Stat Soc A 132:235",
    "Bakbergenuly 2020": "Bakbergenuly, Hoaglin & Kulinskaya, Res Synth Methods 11:114 (arXiv:1903.01362)",
    "Brown, Cai & DasGupta 2001": "Stat Sci 16:101",
    "Fisher 1921": "Metron 1:3",
    "Hall 1992": "The Bootstrap and Edgeworth Expansion, Springer",
    "Imbens & Kolesár 2016": "Rev Econ Stat 98:701",
    "IntHout 2014": "IntHout, Ioannidis & Borm, BMC Med Res Methodol 14:25. In 2 to 20 trials, some"
    " ten times as large: at 5 % the errors of Hartung–Knapp at most doubled, those of"
    " DerSimonian–Laird could be over 30 %",
    "Kenward & Molenberghs 1998": "Stat Sci 13:236",
    "Kish 1965": "Survey Sampling, Wiley",
    "Korn & Graubard 1998": "Surv Methodol 24:193",
    "Langan 2019": "Langan, Higgins, Jackson et al., Res Synth Methods 10:83",
    "Li & Redden 2015": "Stat Med 34:281",
    "Liang & Zeger 1986": "Biometrika 73:13",
    "Mancl & DeRouen 2001": "Biometrics 57:126. 10 to 40 clusters: sizes of the robust variance 2 to 3 times"
    " nominal, of the corrected one close to nominal",
    "Mao, Li & Greene 2019": "Stat Methods Med Res 28:2439",
    "Nagashima 2019": "Nagashima, Noma & Furukawa, Stat Methods Med Res 28:1689. t(k − 2) is off at few"
    " studies",
    "Partlett & Riley 2017": "Stat Med 36:301. REML: prediction covers too little where heterogeneity is"
    " small and sizes differ",
    "Pustejovsky & Tipton 2018": "J Bus Econ Stat 36:672. Few clusters: CR2 with Satterthwaite keeps close to"
    " nominal",
    "Robbins 1970": "Ann Math Stat 41:1397",
    "Rubin 1976": "Biometrika 63:581",
    "Röver 2015": "Röver, Knapp & Friede, BMC Med Res Methodol 15:99. Hartung–Knapp: nominal where"
    " precision is alike, below where it varies; with max(1, q) more conservative and"
    " closer to nominal",
    "Schuirmann 1987": "J Pharmacokinet Biopharm 15:657",
    "Stijnen 2010": "Stijnen, Hamza & Özdemir, Stat Med 29:3046",
    "Student 1908": "Biometrika 6:1",
    "Viechtbauer 2007": "Stat Med 26:37",
    "Waudby-Smith 2024": "Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, Ann Stat 52:2613 (arXiv:2103.06476)",
    "Zhang 2025": "Improving variance and confidence interval estimation in small-sample propensity"
    " score analyses, arXiv",
}
